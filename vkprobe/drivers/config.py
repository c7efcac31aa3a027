"""`vkprobe.toml`: drivers by name, each a manifest with the environment it runs in."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any, Union

import msgspec
from msgspec import Struct

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
        document: dict[str, Any] = tomllib.loads(chosen.read_text(encoding="utf-8"))
        return Config(path=chosen, drivers=msgspec.convert(document, _Document).drivers)
    except FileNotFoundError:
        if path is None:
            return Config(path=chosen)
        raise UsageError(f"--drivers {path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{chosen} can't be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{chosen} is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise UsageError(f"{chosen}: {error} (a driver has icd, env, preload, launcher, null)") from None
