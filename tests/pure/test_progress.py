"""Progress: a rewritten bar on a terminal, few plain lines elsewhere."""

from __future__ import annotations

import io

import pytest

from vkprobe.cli.progress import Reporter


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def test_elsewhere_a_line_for_each_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a phase there is a line every few seconds, and nothing to wipe."""
    now = [100.0]
    monkeypatch.setattr("vkprobe.cli.progress.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    reporter = Reporter(stream)
    for done in range(3):
        reporter.step("lvp/0", f"compile k{done}", done, 3)
    reporter.step("lvp/0", "verify a", 0, 3)
    now[0] += 6
    reporter.step("lvp/0", "verify b", 1, 3)
    reporter.clear()
    assert stream.getvalue() == "[1/3] lvp/0 compile k0\n[1/3] lvp/0 verify a\n[2/3] lvp/0 verify b\n"


def test_a_terminal_gets_one_line_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewritten in place, cut to the width, wiped at the end and before a note."""
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    reporter = Reporter(stream)
    for done in range(5):
        reporter.step("embedded:lvp/0", "round 1: gemm q4_0 coopmat 8x8x8 acc f16 256x64x256", done, 5)
    reporter.note("a note")
    reporter.clear()
    text = stream.getvalue()
    lines = text.split("\r\x1b[K")[1:]
    assert text.count("\n") == 1
    assert lines[0].startswith("[........................] 1/5 embedded:lvp/0 round 1")
    assert lines[4].startswith("[###################.....] 5/5")
    assert all(len(line) < 60 for line in lines)
    assert lines[-2:] == ["a note\n", ""]


def test_nothing_to_do_is_no_division_by_zero() -> None:
    """A phase without steps."""
    stream = Terminal()
    Reporter(stream).step("lvp/0", "compile", 0, 0)
    assert "lvp/0 compile" in stream.getvalue()
