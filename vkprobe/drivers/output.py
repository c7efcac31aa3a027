"""Output of a worker and its driver, kept in a file that stays small however much they print."""

from __future__ import annotations

import fcntl
import os
import tempfile

_TAIL_BYTES = 4000
_MOST_BYTES = 1 << 20


class Output:
    """A worker's stdout and stderr, of which the last is kept.

    A file and no pipe: printing never has to wait for a reader.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()
        self._kept = b""
        # Each write then goes to the file's end, wherever `trim` has put it.
        fcntl.fcntl(self._file, fcntl.F_SETFL, fcntl.fcntl(self._file, fcntl.F_GETFL) | os.O_APPEND)

    def fileno(self) -> int:
        """The file, for the process that writes it."""
        return self._file.fileno()

    @property
    def closed(self) -> bool:
        """Whether the file has been given back; `tail` still returns its end."""
        return self._file.closed

    def trim(self) -> None:
        """Empty the file where it has grown beyond 1 MiB; its last bytes are kept aside.

        What is printed between the two steps is lost.
        """
        if not self.closed and os.fstat(self.fileno()).st_size > _MOST_BYTES:
            self._kept = self._last()
            os.ftruncate(self.fileno(), 0)

    def _last(self) -> bytes:
        if self.closed:
            return self._kept
        size = os.fstat(self.fileno()).st_size
        return (self._kept + os.pread(self.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES)))[-_TAIL_BYTES:]

    def tail(self) -> str:
        """The last 4000 bytes of all that was printed."""
        return self._last().decode(errors="replace")

    def close(self) -> None:
        """Give the file back."""
        self._kept = self._last()
        self._file.close()
