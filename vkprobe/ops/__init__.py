"""The ops, by name. A new op is a folder here, its shader, and one entry in `_NAMES`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from vkprobe.ops.base import LARGEST_MATRIX

if TYPE_CHECKING:
    from vkprobe.ops.base import Op

_NAMES = ("copy", "peak", "gemm", "gemv", "dequant", "convert")
"""Every op, in the order in which they are measured."""
_TABLE_ORDER = ("gemm", "gemv", "dequant", "convert", "copy", "peak")


@cache
def find(name: str) -> Op:
    """The op of this name; one that this version doesn't know gets plain words for its axes, so that its records can be shown."""
    if name not in _NAMES:
        from vkprobe.ops.unknown import Unknown

        return Unknown(name)
    op: Op = importlib.import_module(f"vkprobe.ops.{name}").OP
    return op


def every() -> Iterator[Op]:
    """All ops, in the order in which they are measured: ceilings first."""
    return map(find, _NAMES)


__all__ = ["LARGEST_MATRIX", "every", "find", "in_tables"]


def in_tables() -> tuple[str, ...]:
    """The ops' names in the order of tables."""
    return _TABLE_ORDER
