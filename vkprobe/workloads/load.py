"""Models by name, one JSON file each: the fields of `Model`, matrices of the same role, shape and type on one line.

A new model is one new file; its name is the file's.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from vkprobe.decoding import json_fault
from vkprobe.errors import UsageError
from vkprobe.workloads.model import Model

FOLDER = Path(__file__).parent


def names(folder: Path = FOLDER) -> tuple[str, ...]:
    """The models that are known by name.

    >>> names()
    ('gpt-oss-20b', 'llama-3.1-8b', 'qwen3-30b-a3b', 'qwen3-8b')
    """
    return tuple(sorted(path.name.removesuffix(".json") for path in folder.glob("*.json")))


@cache
def model(name: str, folder: Path = FOLDER) -> Model:
    """A model by name, in any case.

    Raises:
        UsageError: there is none of that name, or its file is not a model.
    """
    if name.lower() not in names(folder):
        raise UsageError(f"no model {name}; there is {', '.join(names(folder))}")
    path = folder / f"{name.lower()}.json"
    try:
        model = msgspec.json.decode(path.read_bytes(), type=Model)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise UsageError(f"{path}: not a model: {json_fault(path.read_bytes(), Model)}") from None
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from None
    if model.name != name.lower():
        raise UsageError(f"{path}: holds the model {model.name}: name and file differ")
    return model
