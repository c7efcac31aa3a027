"""Weight blocks in numpy: random valid ones, ones whose products are exact, and what they decode to.

Each format makes `u8[rows, row_bytes]` and decodes it to `f32[rows, k]`.
Source: ggml-quants.c of llama.cpp@b10249; the tests hold the decoders against `gguf.quants`, bit for bit.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from vkprobe.formats.blocks import F32, U8
from vkprobe.formats.floats import BFloat, Float
from vkprobe.formats.legacy import Q40, Q41, Q50, Q51, Q80, Iq4Nl, Mxfp4
from vkprobe.formats.nvfp4 import Nvfp4
from vkprobe.formats.superblocks import Q2K, Q3K, Q4K, Q5K, Q6K, Iq4Xs

__all__ = ["F32", "U8", "Format", "FORMATS"]


class Format(Protocol):
    """A weight type's blocks."""

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        """Valid blocks, every bit of the payload random, whose decoded values have about this standard deviation."""

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Blocks that decode to integers of a mean square of at most 60, all codes and bits of scales in use.

        They are of magnitude at most 16; but codes that reach further, of q6_k (32), iq4_xs and iq4_nl (127), are met too, rarely.
        """

    def decode(self, blocks: U8) -> F32:
        """Decode the blocks as ggml does: f32[rows, k]."""

    def parts(self, blocks: U8) -> tuple[F32, F32]:
        """(values: f32[rows, k], offsets: f32[rows, k / 32]), both exact: an element is its value minus the offset of its 32.

        The offset is what llama.cpp's dot product multiplies with the sum that a q8_1 block stores: 8 d of q4_0, 16 d of q5_0, -m of q4_1
        and q5_1, dmin * min of q4_k and q5_k, nothing of other types. The values of q2_k are its elements, rounded to f32 once: its
        mins meet sums that the kernel forms itself, of sixteen q8.
        """


FORMATS: dict[str, Format] = {
    "f32": Float(np.float32),
    "f16": Float(np.float16),
    "bf16": BFloat(),
    "q4_0": Q40(),
    "q4_1": Q41(),
    "q5_0": Q50(),
    "q5_1": Q51(),
    "q8_0": Q80(),
    "q2_k": Q2K(),
    "q3_k": Q3K(),
    "q4_k": Q4K(),
    "q5_k": Q5K(),
    "q6_k": Q6K(),
    "iq4_xs": Iq4Xs(),
    "iq4_nl": Iq4Nl(),
    "mxfp4": Mxfp4(),
    "nvfp4": Nvfp4(),
}
"""The formats by name; a new one is a class and a row here."""
