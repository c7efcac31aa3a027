"""Progress on stderr: a bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

_LINE_EVERY_S = 5.0
_BAR_CELLS = 24


class Reporter:
    """Shows progress: on a terminal in one line that is rewritten, elsewhere in a line every few seconds."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._phase = ""
        self._told_at = 0.0

    def step(self, device: str, what: str, done: int, total: int) -> None:
        """`what` has begun: number `done` of `total`."""
        if self._terminal:
            filled = _BAR_CELLS * done // max(1, total)
            line = f"[{'#' * filled}{'.' * (_BAR_CELLS - filled)}] {done + 1}/{total} {device} {what}"
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{line[:width]}")
            self._stream.flush()
            return
        phase = f"{device} {what.split(' ')[0]}"
        now = time.monotonic()
        if phase != self._phase or now - self._told_at >= _LINE_EVERY_S:
            self._phase, self._told_at = phase, now
            self._stream.write(f"[{done + 1}/{total}] {device} {what}\n")
            self._stream.flush()

    def note(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        self._stream.write(text + "\n")
        self._stream.flush()

    def clear(self) -> None:
        """Wipe the bar."""
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
