"""The commands that reports of a GPU are made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import survey
from vkprobe.cli.main import cli

PARTS = ("kernels", "verbs", "model", "again", "loaded")


@pytest.mark.parametrize("part", PARTS)
def test_every_command_is_one_of_vkprobe_s(part: str) -> None:
    """Verbs and options are there; nothing is run."""
    for verb, *arguments in survey.commands(part, 4096, 14336, "qwen3-8b"):
        command = cli.get_command(cli.make_context("vkprobe", ["--help"], resilient_parsing=True), verb)
        assert command is not None
        command.make_context(verb, arguments)


def test_the_highest_status_counts_and_all_of_them_are_in_the_log(tmp_path: Path) -> None:
    """A command that fails ends nothing; its output and how it ended are in the part's log."""
    assert survey.survey(tmp_path, "verbs", None, [["gemm", "--type", "nope"], ["gemm", "--help"]]) == 2
    log = (tmp_path / "verbs.log").read_text()
    assert "--type nope: not known" in log
    assert "verbs: gemm: exit status 2 after" in log
    assert "verbs: gemm: exit status 0 after" in log
