"""vkprobe's command line in the tests' own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Command = Callable[..., "Ended"]
"""`command(*argv)` runs vkprobe in the test's folder; its exit status and output."""


class Ended(NamedTuple):
    """How a command ended."""

    status: object
    stdout: str
    stderr: str


def refused(ended: Ended) -> str:
    """The sentence that a command line is refused with."""
    assert ended.status == 2, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("vkprobe: ")
    return lines[0].removeprefix("vkprobe: ")
