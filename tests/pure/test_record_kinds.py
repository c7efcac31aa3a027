"""Every kind of record is named where a user looks for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vkprobe.errors import UsageError
from vkprobe.records import KINDS
from vkprobe.results.store import read_records

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_names_every_kind() -> None:
    """No more and no fewer than there are."""
    sentence = re.search(r"`kind` first: (.*?)\. Units", README.read_text())
    assert sentence
    assert set(re.findall(r"`(\w+)`", sentence[1])) == KINDS


def test_a_file_without_records_is_refused_with_every_kind(tmp_path: Path) -> None:
    """The message lists everything that was expected."""
    (tmp_path / "x").write_text("hello\n")
    with pytest.raises(UsageError, match=r"`kind` first \(.*\)") as error:
        list(read_records(tmp_path / "x"))
    assert set(re.findall(r"\w+", str(error.value).rpartition("(")[2])) == KINDS
