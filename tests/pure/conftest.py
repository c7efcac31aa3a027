"""Fixtures of pure tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.pure.commands import Command, Ended
from vkprobe.cli.main import main


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """The console script, in this process."""

    def run(*argv: str) -> Ended:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["vkprobe", *argv])
        with pytest.raises(SystemExit) as end:
            main()
        return Ended(end.value.code, *capfd.readouterr())

    return run
