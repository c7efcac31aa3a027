"""In which form each path reads activations and weights, and what is converted before the product."""

from __future__ import annotations

from vkprobe.program import ActivationForm, Conversion
from vkprobe.weights import WEIGHT_TYPES


def gemm_activations(weight_type: str, path: str, accumulator: str, n: int, bn: int) -> Conversion:
    """How a GEMM in tiles of `bn` columns reads N rows of activations.

    Integer paths read q8_1. coopmat2 reads f16, and so does coopmat for quantised weights; for f16 and f32 weights coopmat reads f32
    as scalar paths do. bf16 weights are multiplied with bf16 on every path. What is copied to f16 or bf16 is padded to whole tiles.

    Source: ggml-vulkan.cpp:6313-6338 (forms), 6360 (padding).

    >>> gemm_activations("q4_0", "coopmat", "f16", 100, 64)
    Conversion(form='f16', rows=128)
    """
    if path == "intdot" or accumulator == "s32":
        return Conversion(form="q8_1", rows=n)
    row = WEIGHT_TYPES[weight_type]
    if row.component == "bf16":
        form: ActivationForm = "bf16"
    elif path == "coopmat2" or (path == "coopmat" and row.quantised):
        form = "f16"
    else:
        return Conversion(form="f32", rows=n)
    return Conversion(form=form, rows=-(-n // bn) * bn)


def gemv_activations(path: str, n: int) -> Conversion:
    """How a GEMV reads N rows of activations: q8_1 on path intdot, else f32. Source: ggml-vulkan.cpp:6665-6698."""
    return Conversion(form="q8_1" if path == "intdot" else "f32", rows=n)


def weights_form(weight_type: str, path: str) -> str:
    """The type that a GEMM's kernel reads weights in: coopmat2 has f32 weights copied to f16 first.

    Source: ggml-vulkan.cpp:6305, 6340-6343.
    """
    return "f16" if path == "coopmat2" and weight_type == "f32" else weight_type
