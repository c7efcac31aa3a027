"""Push constants and specialisation constants as 32-bit words. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vkprobe.errors import UsageError


def word(value: Any) -> int:
    """A 32-bit constant: bool, int (signed or not), float as f32, a NumPy scalar of at most 32 bits.

    >>> word(True), word(-1), hex(word(2.0))
    (1, 4294967295, '0x40000000')

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, np.generic):
        if value.dtype.kind not in "iufb" or value.dtype.itemsize > 4:
            raise UsageError(f"constant {value!r}: {value.dtype} does not fit 32 bits")
        value = value.item()
    if isinstance(value, float):
        try:
            return int(struct.unpack("<I", struct.pack("<f", value))[0])
        except OverflowError:
            raise UsageError(f"constant {value!r}: does not fit a 32-bit float") from None
    if isinstance(value, int) and -(1 << 31) <= value < 1 << 32:
        return int(value) & 0xFFFFFFFF
    raise UsageError(f"constant {value!r}: expected a bool, a 32-bit integer or a float")


def words(push: Any) -> list[int]:
    """Push constants: bytes or an array as they are, a sequence of `word`s otherwise; filled up to whole words.

    >>> words((3, 1.0)), words(b"abc")
    ([3, 1065353216], [6513249])
    """
    if push is None:
        return []
    if isinstance(push, np.ndarray):
        push = push.tobytes()
    if isinstance(push, bytes | bytearray | memoryview):
        data = bytes(push)
        data += b"\0" * (-len(data) % 4)
        return list(struct.unpack(f"<{len(data) // 4}I", data))
    return [word(value) for value in (push if isinstance(push, Sequence) else (push,))]


def constants(values: Mapping[int, Any] | None) -> list[tuple[int, int]]:
    """Specialisation constants by id."""
    return [(int(number), word(value)) for number, value in (values or {}).items()]


def grid(groups: Any) -> list[int]:
    """A workgroup count in three dimensions.

    >>> grid(4), grid((4, 2))
    ([4, 1, 1], [4, 2, 1])

    Raises:
        UsageError: it is none.
    """
    given = groups.tolist() if isinstance(groups, np.ndarray | np.generic) else groups
    sizes = list(given) if isinstance(given, Sequence) else [given]
    if not 1 <= len(sizes) <= 3 or not all(_whole(size) for size in sizes):
        raise UsageError(f"groups {groups!r}: expected one to three whole numbers, 1 or more")
    return [*map(int, sizes), 1, 1][:3]


def _whole(size: Any) -> bool:
    """Whether it is a count of workgroups: X.size / 64 is, where it leaves no rest."""
    try:
        return bool(size == int(size) >= 1)
    except (TypeError, ValueError, OverflowError):
        return False
