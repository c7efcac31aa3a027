"""Component types of cooperative matrices in numpy: how their values are stored, and what the stored bits mean.

Source: Vulkan's VkComponentTypeKHR; OCP 8-bit floating point specification (E4M3, E5M2); bfloat16 is the upper half of binary32.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Bits = NDArray[Any]


class Component(Struct, frozen=True, kw_only=True):
    """One type: `storage` is the numpy type of its bits; `precision` counts significand bits, 0 for integers.

    Attributes:
        least, most: the integers' range; None for floats.
    """

    name: str
    storage: str
    precision: int = 0
    least: int | None = None
    most: int | None = None

    @property
    def is_float(self) -> bool:
        """Whether it has a significand."""
        return self.precision > 0


COMPONENTS: dict[str, Component] = {
    c.name: c
    for c in (
        Component(name="f16", storage="<f2", precision=11),
        Component(name="f32", storage="<f4", precision=24),
        Component(name="f64", storage="<f8", precision=53),
        Component(name="bf16", storage="<u2", precision=8),
        Component(name="e4m3", storage="u1", precision=4),
        Component(name="e5m2", storage="u1", precision=3),
        Component(name="s8", storage="i1", least=-128, most=127),
        Component(name="u8", storage="u1", least=0, most=255),
        Component(name="s32", storage="<i4", least=-(2**31), most=2**31 - 1),
        Component(name="u32", storage="<u4", least=0, most=2**32 - 1),
    )
}


@cache
def _float8(name: str) -> F64:
    """The value of each of the 256 codes."""
    exponent_bits, mantissa_bits, bias = (4, 3, 7) if name == "e4m3" else (5, 2, 15)
    codes = np.arange(256)
    sign = np.where(codes & 0x80, -1.0, 1.0)
    exponent = (codes >> mantissa_bits) & ((1 << exponent_bits) - 1)
    mantissa = codes & ((1 << mantissa_bits) - 1)
    fraction = mantissa / (1 << mantissa_bits)
    values = sign * np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * np.exp2(exponent - float(bias)))
    if name == "e4m3":
        values[(codes & 0x7F) == 0x7F] = np.nan  # no infinities
    else:
        top = exponent == 31
        values[top] = np.where(mantissa[top] == 0, sign[top] * np.inf, np.nan)
    return values


def encode(name: str, values: NDArray[Any]) -> Bits:
    """The stored bits of values that the type holds exactly.

    Raises:
        ValueError: it does not hold one of them (float8; bf16 drops what it can't hold).
    """
    if name == "bf16":
        return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if name in ("e4m3", "e5m2"):
        table = _float8(name)
        distinct, inverse = np.unique(np.asarray(values, np.float64), return_inverse=True)
        codes = np.array([_code(table, value) for value in distinct], np.uint8)
        return codes[inverse].reshape(np.shape(values))
    return np.asarray(values).astype(COMPONENTS[name].storage)


def _code(table: F64, value: float) -> int:
    codes = np.nonzero(np.isnan(table) if math.isnan(value) else table == value)[0]
    if not codes.size:
        raise ValueError(f"no float8 code for {value}")
    return int(codes[0])


def decode(name: str, bits: Bits) -> F64:
    """The values of stored bits."""
    if name == "bf16":
        return (np.asarray(bits).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if name in ("e4m3", "e5m2"):
        values: F64 = _float8(name)[np.asarray(bits)]
        return values
    return np.asarray(bits).astype(np.float64)
