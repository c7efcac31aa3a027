"""The commands that reports of a GPU are made from."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from tools import survey
from vkprobe.cli.main import cli

PARTS = ("ceilings", "kernels", "decoding", "model", "again", "loaded")


@pytest.mark.parametrize("part", PARTS)
def test_every_command_is_one_of_vkprobe_s(part: str) -> None:
    """Verbs and options are there; nothing is run."""
    for verb, *arguments in survey.commands(part, 4096, 14336, "qwen3-8b"):
        command = cli.get_command(cli.make_context("vkprobe", ["--help"], resilient_parsing=True), verb)
        assert command is not None
        command.make_context(verb, arguments)


def test_the_highest_status_counts_and_all_of_them_are_in_the_log(tmp_path: Path) -> None:
    """A command that fails ends nothing; its output and how it ended are in the part's log."""
    assert survey.survey(tmp_path, "decoding", None, [["gemm", "--type", "nope"], ["gemm", "--help"]]) == 2
    log = (tmp_path / "decoding.log").read_text()
    assert "--type nope: not known" in log
    assert "decoding: gemm: exit status 2 after" in log
    assert "decoding: gemm: exit status 0 after" in log


def test_again_waits_for_five_minutes_after_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four minutes have passed since the log was last written."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(survey, "survey", lambda *asked: 0)
    log = tmp_path / "kernels.log"
    log.write_text("")
    four_minutes_ago = time.time() - 240
    os.utime(log, (four_minutes_ago, four_minutes_ago))
    monkeypatch.setattr(sys, "argv", ["survey", str(tmp_path), "again"])
    with pytest.raises(SystemExit) as end:
        survey.main()
    assert end.value.code == 0
    assert slept == [pytest.approx(60, abs=5)]


def test_records_of_a_loaded_machine_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its times are no times of the device."""
    asked: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        return subprocess.CompletedProcess([], 0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(survey, "busy", lambda wanted: nullcontext())
    for part in ("kernels", "loaded"):
        survey.survey(tmp_path, part, None, [["copy"]])
    assert [Path(command[-1]).name for command in asked] == ["records.jsonl", "loaded.jsonl"]


def test_a_command_that_a_signal_ends_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status is a shell's: 128 plus the signal's number."""
    killed: subprocess.CompletedProcess[bytes] = subprocess.CompletedProcess([], -9)
    monkeypatch.setattr(subprocess, "run", lambda *command, **options: killed)
    assert survey.survey(tmp_path, "decoding", None, [["copy"], ["peak"]]) == 137
