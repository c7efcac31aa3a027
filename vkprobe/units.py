"""Scaling and formatting of stored units (s, B, FLOP) for print; nothing stored is ever scaled."""

from __future__ import annotations

import math

_SI = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_IEC = ((1 << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki"))


def significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits, never in exponent form.

    >>> significant(1234.5), significant(0.01234), significant(99.96)
    ('1234', '0.0123', '100')
    """
    if value == 0 or not math.isfinite(value):
        return str(value) if value else "0"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{value:.{decimals}f}"


def _reaches(value: float, factor: float) -> bool:
    """Whether `value` in this unit is 1.00 or more as it is printed: 999.7 GB/s is 1.00 TB/s, not 1000 GB/s."""
    return abs(float(significant(value / factor))) >= 1.0


def _scaled(value: float, steps: tuple[tuple[float, str], ...], unit: str) -> str:
    for factor, prefix in steps:
        if _reaches(value, factor):
            return f"{significant(value / factor)} {prefix}{unit}"
    return f"{significant(value)} {unit}"


def seconds(value: float) -> str:
    """A duration (s) in the unit that reads best.

    >>> seconds(21.6e-6), seconds(1.5), seconds(0.0042), seconds(999.7e-6)
    ('21.6 us', '1.50 s', '4.20 ms', '1.00 ms')
    """
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if _reaches(value, factor):
            return f"{significant(value / factor)} {unit}"
    return f"{significant(value / 1e-9)} ns"


def flops_per_s(value: float) -> str:
    """A rate (FLOP/s).

    >>> flops_per_s(161.8e12)
    '162 TFLOP/s'
    """
    return _scaled(value, _SI, "FLOP/s")


def bytes_per_s(value: float) -> str:
    """A rate (B/s).

    >>> bytes_per_s(4.28e12), bytes_per_s(999.7e9), bytes_per_s(999.4e9)
    ('4.28 TB/s', '1.00 TB/s', '999 GB/s')
    """
    return _scaled(value, _SI, "B/s")


def size(value: float) -> str:
    """A size (B) in binary units.

    >>> size(49152), size(512 << 20)
    ('48.0 KiB', '512 MiB')
    """
    return _scaled(value, _IEC, "B")
