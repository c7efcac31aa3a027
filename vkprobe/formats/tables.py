"""Values that codes stand for, shared by formats that look them up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MXFP4_VALUES: NDArray[np.int8] = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int8)
"""e2m1, doubled: mxfp4 and nvfp4."""

IQ4_VALUES: NDArray[np.int8] = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int8)
"""iq4_nl and iq4_xs."""


def _weighted(*counts: tuple[int, int]) -> NDArray[np.uint8]:
    """A table to draw codes from, (code, how often); the rest of 8192 is the code of the value one."""
    drawn = [code for code, count in counts for _ in range(count)]
    return np.array(drawn + [8] * (8192 - len(drawn)), np.uint8)


IQ4_EXACT: NDArray[np.uint8] = np.stack(
    [_weighted(*((code, 1) for code in range(16)), (7, 1600), (9, 1250)), _weighted((7, 410), (9, 410))]
)
"""Codes for exact blocks, [2, 8192]: at a scale of one every code, those beyond 16 in two of a thousand; at two the smallest values."""
