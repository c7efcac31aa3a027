"""A command's outputs: before any work is done they must be distinct and writable; standard output may be full."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vkprobe.errors import UsageError

if TYPE_CHECKING:
    from vkprobe.records import AnyRecord

Named = tuple[str, "Path | str | None"]
"""What a user calls a file (`--html`), and the file; None where it is not given, `-` standard input or output."""


def distinct(outputs: Iterable[Named], inputs: Iterable[Named] = ()) -> None:
    """Check that no output file is written twice or read.

    Raises:
        UsageError: an output is the same file as another output or an input.
    """
    written = [(name, Path(path)) for name, path in outputs if path is not None]
    others = [(name, Path(path)) for name, path in inputs if path is not None and os.fspath(path) != "-"]
    for position, (name, path) in enumerate(written):
        for other, other_path in [*written[:position], *others]:
            if _same(path, other_path):
                raise UsageError(f"{name} {path}: is the same file as {other}: it would be overwritten; give another name")


def _same(one: Path, other: Path) -> bool:
    try:
        if one.exists() and other.exists():
            return os.path.samefile(one, other) and not one.is_char_device()  # /dev/null takes everything
        return os.path.realpath(one) == os.path.realpath(other)
    except OSError:
        return False  # what can't be looked at can't be opened either, which says why


def writable(*paths: Path | None) -> None:
    """Check that reports can be written there, by creating a file beside them.

    Raises:
        UsageError: one can't.
    """
    for path in paths:
        if path is not None:
            with _beside(path):
                pass


def write_report(path: Path, text: str) -> None:
    """Write a report whole or not at all.

    Raises:
        UsageError: the path can't be written.
    """
    with _beside(path) as file:
        try:
            file.write_text(text, encoding="utf-8")
            if file != path:
                file.replace(os.path.realpath(path))
        except OSError as error:
            raise UsageError(f"{path}: can't be written: {error.strerror}") from None


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A new, empty file beside `path`, gone afterwards; `path` itself where it is a device or a pipe."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file")
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        yield path
        return
    partial = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
    try:
        partial.touch(exist_ok=False)
    except OSError as error:
        raise UsageError(f"{path}: can't be written: {error.strerror}") from None
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def keep(records: Sequence[AnyRecord], as_records: bool, output: Path | None) -> None:
    """Append the records to the file, and print them, where that was asked for."""
    if output is not None:
        from vkprobe.results.store import Appender  # here: every verb's start-up comes by

        with Appender(output) as file:
            for one in records:
                file.append(one)
    if as_records:
        from vkprobe.records import encode

        for one in records:
            click.echo(encode(one))


class _Stdout(io.RawIOBase):
    """File descriptor 1; a failed write raises an error that says so."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def isatty(self) -> bool:
        return os.isatty(1)

    def write(self, data: object) -> int:
        try:
            return os.write(1, data)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise
        except OSError as error:
            silence()
            raise UsageError(f"standard output can't be written: {error.strerror}") from None


def silence() -> None:
    """Discard further standard output, so that the interpreter's last flush doesn't fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def guard_stdout() -> None:
    """Make standard output raise UsageError, and not OSError, where it can't be written."""
    stdout = sys.stdout
    if isinstance(stdout, io.TextIOWrapper) and stdout.buffer.fileno() == 1:
        stdout.flush()
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Stdout()), encoding=stdout.encoding, errors=stdout.errors, line_buffering=stdout.line_buffering
        )
