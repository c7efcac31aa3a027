"""In which form each path reads activations and weights, and what is converted before the product."""

from __future__ import annotations

from msgspec import Struct

from vkprobe.weights import WEIGHT_TYPES


class Activations(Struct, frozen=True, kw_only=True):
    """Activations as a product reads them.

    Attributes:
        form: f32 (as they come), f16, bf16 or q8_1 (in groups of four blocks).
        rows: rows that lie there: N, or N padded to whole tiles, so that the kernel needs no bounds.
    """

    form: str
    rows: int

    @property
    def converted(self) -> bool:
        """A conversion comes before the product."""
        return self.form != "f32"


def gemm_activations(weight_type: str, path: str, accumulator: str, n: int, bn: int) -> Activations:
    """How a GEMM in tiles of `bn` columns reads N rows of activations.

    Integer paths read q8_1. coopmat2 reads f16, and so does coopmat for quantised weights; for f16 and f32 weights coopmat reads f32
    as scalar paths do. bf16 weights are multiplied with bf16 on every path. What is copied to f16 or bf16 is padded to whole tiles.

    Source: ggml-vulkan.cpp:6313-6338 (forms), 6360 (padding).

    >>> gemm_activations("q4_0", "coopmat", "f16", 100, 64)
    Activations(form='f16', rows=128)
    """
    if path == "intdot" or accumulator == "s32":
        return Activations(form="q8_1", rows=n)
    if weight_type == "bf16":
        form = "bf16"
    elif path == "coopmat2" or (path == "coopmat" and WEIGHT_TYPES[weight_type].quantised):
        form = "f16"
    else:
        return Activations(form="f32", rows=n)
    return Activations(form=form, rows=-(-n // bn) * bn)


def gemv_activations(path: str, n: int) -> Activations:
    """How a GEMV reads N rows of activations: q8_1 on path intdot, else f32. Source: ggml-vulkan.cpp:6665-6698."""
    return Activations(form="q8_1" if path == "intdot" else "f32", rows=n)


def weights_form(weight_type: str, path: str) -> str:
    """The type that a GEMM's kernel reads weights in: coopmat2 has f32 weights copied to f16 first.

    Source: ggml-vulkan.cpp:6305, 6340-6343.
    """
    return "f16" if path == "coopmat2" and weight_type == "f32" else weight_type
