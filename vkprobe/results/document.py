"""A JSON document of another tool: every value knows its place, so that a message can name file, path and what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec

from vkprobe.decoding import shown, syntax_fault
from vkprobe.errors import UsageError


class Node(NamedTuple):
    """A value of a document: the file's name, the path to it (`$.capabilities.device`), the value."""

    file: str
    path: str
    value: Any

    def wrong(self, expected: str) -> NoReturn:
        """Raise UsageError: this value is not what was expected."""
        raise UsageError(f"{self.file}: {self.path}: expected {expected}, found {shown(self.value)}")

    def fields(self) -> Iterator[tuple[str, Node]]:
        """The members of an object, in the file's order; raises UsageError where this is none."""
        if not isinstance(self.value, dict):
            self.wrong("an object")
        for name, value in self.value.items():
            yield name, Node(self.file, self.path + _step(name), value)

    def field(self, name: str) -> Node | None:
        """A member of an object; None where it is not there or null. Raises UsageError where this is no object."""
        if not isinstance(self.value, dict):
            self.wrong("an object")
        value = self.value.get(name)
        return None if value is None else Node(self.file, self.path + _step(name), value)

    def items(self) -> Iterator[Node]:
        """The elements of an array; raises UsageError where this is none."""
        if not isinstance(self.value, list):
            self.wrong("an array")
        for index, value in enumerate(self.value):
            yield Node(self.file, f"{self.path}[{index}]", value)

    def text(self) -> str:
        """The string; raises UsageError where this is none."""
        if not isinstance(self.value, str):
            self.wrong("a string")
        return self.value

    def integer(self) -> int:
        """The whole number; raises UsageError where this is none."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self.wrong("a whole number")
        return self.value


def _step(name: str) -> str:
    return f".{name}" if re.fullmatch(r"[\w-]{1,120}", name) else f"[{shown(name)}]"


def parse(data: bytes, file: str, expected: str) -> Node:
    """The root of a JSON document.

    Args:
        data: the whole file, UTF-8 (a byte order mark is skipped; UTF-16 is read where one says so).
        file: its name, for messages.
        expected: a sentence that says what the file should have been.

    Raises:
        UsageError: it is no JSON; names line and column.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # what a PowerShell redirection writes
        try:
            data = data.decode("utf-16").encode()
        except UnicodeDecodeError:
            raise UsageError(f"{file}: begins like UTF-16 text and is none. {expected}") from None
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise UsageError(f"{file}: is empty. {expected}")
    try:
        return Node(file, "$", msgspec.json.decode(data))
    except RecursionError:
        raise UsageError(f"{file}: nested too deeply for a device's facts. {expected}") from None
    except (UnicodeDecodeError, msgspec.MsgspecError):
        raise UsageError(f"{file}{_fault(data)}. {expected}") from None


def _fault(data: bytes) -> str:
    """Say where and why a document isn't JSON, to follow the file's name."""
    text = data
    try:
        text.decode()
    except UnicodeDecodeError as error:
        text = data[: error.start]
    try:
        fault = syntax_fault(text)
    except RecursionError:
        return ": nested too deeply for a device's facts"
    if text != data and (fault is None or fault.cut_short):
        line, column = place(data, len(text))
        return f", line {line}, column {column}: not JSON: it is not UTF-8 text"
    if fault is None:
        return ": holds a number or a string that vkprobe can't represent"
    if fault.cut_short:
        return f", line {fault.line}, column {fault.column}: the file ends in the middle of its JSON: it is cut short"
    return f", line {fault.line}, column {fault.column}: not JSON"


def place(data: bytes, position: int) -> tuple[int, int]:
    """Line and column of a byte, both counted from 1.

    >>> place(b"ab\\ncd", 4)
    (2, 2)
    """
    before = data[:position]
    return before.count(b"\n") + 1, position - (before.rfind(b"\n") + 1) + 1


def read(path: Path, most_bytes: int) -> bytes:
    """The whole of a regular file; raises UsageError where it can't be read or holds more than `most_bytes`."""
    try:
        if not path.is_file():
            raise UsageError(f"{path}: " + ("is no regular file" if path.exists() else "there is no such file"))
        if path.stat().st_size > most_bytes:
            raise UsageError(f"{path}: has {path.stat().st_size >> 20} MiB; a file with a device's facts has less than {most_bytes >> 20}")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from None
