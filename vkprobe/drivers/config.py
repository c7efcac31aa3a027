"""`vkprobe.toml`: drivers by name, each a manifest with the environment it runs in."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any, Union

import msgspec
from msgspec import Struct

from vkprobe.decoding import mismatch
from vkprobe.errors import UsageError

tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

DEFAULT = Path("vkprobe.toml")


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[drivers.NAME]`.

    Attributes:
        icd: path of a manifest, relative to the file, or a name that `vkprobe drivers` lists.
        env: variables; numbers and booleans are written as text (true is 1).
        null: `FAMILY:CHIP` for a null device, or true where the devices of `icd` execute nothing.
    """

    icd: str | None = None
    env: dict[str, Union[str, int, float, bool]] = {}
    preload: list[str] = []
    launcher: list[str] = []
    null: Union[str, bool] = False

    def variables(self) -> dict[str, str]:
        """`env` as a process takes it."""
        return {name: str(int(value)) if isinstance(value, bool) else str(value) for name, value in self.env.items()}


class _Document(Struct, frozen=True):
    drivers: dict[str, Entry] = {}


class Config(Struct, frozen=True, kw_only=True):
    """The drivers of one file; `folder` is what its relative paths count from."""

    path: Path
    drivers: dict[str, Entry] = {}

    def locate(self, value: str) -> Path:
        """A path written in the file."""
        return Path(os.path.abspath(self.path.absolute().parent / Path(value).expanduser()))


def load(path: Path | None) -> Config:
    """The drivers of `path`, or of vkprobe.toml in the current folder where there is one.

    Raises:
        UsageError: the file can't be read, is not TOML, or holds a field or value that means nothing here.
    """
    chosen = path or DEFAULT
    try:
        text = chosen.read_text(encoding="utf-8")
    except FileNotFoundError:
        if path is None:
            return Config(path=chosen)
        raise UsageError(f"--drivers {path}: there is no such file") from None
    except OSError as error:
        raise UsageError(f"{chosen} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{chosen} can't be read: it is not UTF-8 text") from None
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise UsageError(f"{chosen} is not TOML from line {_first_bad_line(text)} on") from None
    try:
        return Config(path=chosen, drivers=msgspec.convert(document, _Document).drivers)
    except msgspec.ValidationError:
        raise UsageError(f"{chosen}: {mismatch(document, _Document)} (a driver has icd, env, preload, launcher, null)") from None


def _first_bad_line(text: str) -> int:
    """The line behind the longest beginning of `text` that is TOML, counted from 1.

    >>> _first_bad_line("a = [\\n 1]\\nb = \\nc = 1")
    3
    """
    lines = text.splitlines(keepends=True)
    for count in range(len(lines) - 1, 0, -1):
        try:
            tomllib.loads("".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue
        return count + 1
    return 1
