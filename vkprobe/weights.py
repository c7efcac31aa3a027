"""Weight types: how many elements a block holds and how many bytes it takes. A new type is one row here.

Source: ggml-common.h of llama.cpp@b10249.
"""

from __future__ import annotations

from msgspec import Struct


class WeightType(Struct, frozen=True):
    """A weight type's block: `elements` along K, `bytes` in memory."""

    elements: int
    bytes: int

    @property
    def quantised(self) -> bool:
        """Whether elements share a block: floats do not."""
        return self.elements > 1

    def row_bytes(self, k: int) -> int:
        """Bytes of a row of `k` elements; rows have no padding."""
        return k // self.elements * self.bytes


WEIGHT_TYPES: dict[str, WeightType] = {
    "f32": WeightType(1, 4),
    "f16": WeightType(1, 2),
    "bf16": WeightType(1, 2),
    "q4_0": WeightType(32, 18),
    "q8_0": WeightType(32, 34),
    "q4_k": WeightType(256, 144),
    "q5_k": WeightType(256, 176),
    "q6_k": WeightType(256, 210),
    "iq4_xs": WeightType(256, 136),
    "mxfp4": WeightType(32, 17),
}

Q8_1_ELEMENTS = 32
"""Of a block of q8_1, in which integer paths read activations."""
