"""Rows of `python -m tools.kernels`: products with q8_1 activations, and the conversions of activations."""

from __future__ import annotations

from collections.abc import Iterator

from tools.variant import Variant, optimized

INTDOT_TYPES = ("q4_0", "q8_0", "q4_k", "q5_k", "q6_k", "iq4_xs", "mxfp4")
_REDUCTIONS: tuple[tuple[str, dict[str, str]], ...] = (("subgroup", {"REDUCE_SUBGROUP": "1"}), ("shared", {}))


def intdot() -> Iterator[Variant]:
    """A GEMM of each type, and a GEMV for each way to reduce."""
    for kind in INTDOT_TYPES:
        facts = {"path": "intdot", "type": kind, "accumulator": "f32", "tier": "mimic"}
        yield Variant(f"gemm_{kind}_intdot", "gemm/intdot.comp", {}, {"op": "gemm", **facts})
        for reduce, defines in _REDUCTIONS:
            yield Variant(f"gemv_{kind}_intdot_{reduce}", "gemv/intdot.comp", defines, {"op": "gemv", **facts, "reduce": reduce})


def conversions() -> Iterator[Variant]:
    """f32 activations to what products of bf16 weights, coopmat2 and intdot read."""
    facts = {"op": "convert", "path": "scalar-f32", "accumulator": "f32", "tier": "mimic"}
    yield Variant("convert_f16", "convert/f16.comp", {}, {**facts, "type": "f16"})
    yield Variant("convert_bf16", "convert/f16.comp", {"TO_BF16": "1"}, {**facts, "type": "bf16"}, optimize=optimized("scalar-f32", "bf16"))
    for reduce, defines in _REDUCTIONS:
        yield Variant(f"convert_q8_1_{reduce}", "convert/q8_1.comp", defines, {**facts, "type": "q8_1", "reduce": reduce})
