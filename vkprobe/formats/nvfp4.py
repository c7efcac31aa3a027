"""nvfp4: blocks of 64 elements with four scales of e4m3."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vkprobe.formats.blocks import F32, U8, Blocks, Records, as_bytes, halves
from vkprobe.formats.tables import MXFP4_VALUES

_BYTES = np.arange(256, dtype=np.uint8)
_EXPONENTS = (_BYTES >> 3 & 15).astype(np.float64)
_MANTISSAS = (_BYTES & 7).astype(np.float64)
_SCALES: F32 = np.where(_EXPONENTS == 0, _MANTISSAS / 512, (1 + _MANTISSAS / 8) * np.exp2(_EXPONENTS - 7)).astype(np.float32)
_SCALES[0x7F] = 0
"""Values of the scales' bytes. As in ggml, 127, the format's NaN, is zero, and the highest bit, which no quantiser sets, is ignored."""

_DEVIATION = 2.92  # of a code's value at a scale of one

# Exact blocks: scales from a quarter to 16, among them every mantissa, more often those of many integers.
_EXACT_SCALES = np.array([0x28, 0x30, *[0x38] * 8, *range(0x40, 0x48), *[0x40] * 8, 0x44, *[0x48] * 3, 0x50, 0x58], np.uint8)


def _exact_codes() -> U8:
    """Sixteen codes to draw from for each scale of exact blocks: those whose values are integers of magnitude at most 16."""
    values = _SCALES[_EXACT_SCALES][:, None] * MXFP4_VALUES / 2
    usable = (values == np.rint(values)) & (np.abs(values) <= 16)
    return np.stack([np.resize(np.flatnonzero(row), 16) for row in usable]).astype(np.uint8)


_EXACT_CODES = _exact_codes()


class Nvfp4(Blocks):
    """nvfp4: half a scale times the doubled value of e2m1, a scale for each sixteen elements.

    Models have a scale of f32 for a whole tensor beside it, which is an operation of its own: without it the smallest step is 2^-10.
    """

    layout = np.dtype([("d", "u1", 4), ("qs", "u1", 32)])
    elements = 64

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        """Random codes; scales spread over a factor of four, at the nearest that there is, at least the smallest."""
        records = self.any_bits(rng, rows, k)
        wanted = deviation / _DEVIATION * np.exp2(rng.uniform(-1, 1, (*records.shape, 4)))
        between = (_SCALES[1:0x7E] + _SCALES[2:0x7F]) / 2
        records["d"] = 1 + np.searchsorted(between, wanted)
        return as_bytes(records)

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Scales from a quarter to 16, with the codes whose values are integers."""
        records = np.empty((rows, k // 64), self.layout)
        chosen = rng.integers(0, len(_EXACT_SCALES), (*records.shape, 4))
        records["d"] = _EXACT_SCALES[chosen]
        codes = _EXACT_CODES[chosen[..., None], rng.integers(0, 16, (*chosen.shape, 16))]
        records["qs"] = (codes[..., :8] | codes[..., 8:] << 4).reshape(*records.shape, 32)
        return as_bytes(records)

    def scaled(self, records: Records) -> tuple[F32, NDArray[Any], F32 | None]:
        """Half the scales of sixteen elements; the codes' values from the table."""
        codes = halves(records["qs"].reshape(*records.shape, 4, 8), 3).reshape(*records.shape, 4, 16)
        return _SCALES[records["d"]] * np.float32(0.5), MXFP4_VALUES[codes], None
