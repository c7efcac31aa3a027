"""Rows of `python -m tools.kernels`: the two ceilings of the roofline, multiply-adds from registers and copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.ladder_kernels import FLOAT8, GLSL_TYPES, LOCAL_SIZE_ID, STORAGE, TUPLE_TYPES, WORKGROUP_SCOPE
from tools.variant import Variant

_BYTES = {"f16": 2, "bf16": 2, "f32": 4, "s32": 4, "u32": 4}  # all others have one
_FLOAT = {"X_T": "float", "X(w)": "uintBitsToFloat(w)", "BITS(x)": "floatBitsToUint(x)"}
_HALVES = {"Y_T": "f16vec2", "Y(w)": "unpackFloat2x16(w)", "Y_BITS(y)": "packFloat2x16(y)"}
_SCALAR: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    (
        "scalar-f32",
        "f32",
        "f32",
        {**_FLOAT, "Y_T": "float", "Y(w)": "uintBitsToFloat(w)", "Y_BITS(y)": "floatBitsToUint(y)", "STEP(a,b,c)": "fma(a, b, c)"},
    ),
    (
        "scalar-f16",
        "f16",
        "f16",
        {"X_T": "f16vec2", "X(w)": "unpackFloat2x16(w)", "BITS(x)": "packFloat2x16(x)", **_HALVES, "STEP(a,b,c)": "fma(a, b, c)"},
    ),
    ("dot2", "f16", "f32", {**_FLOAT, **_HALVES, "STEP(a,b,c)": "mixed_dot(a, b, c)", "DOT2": "1", "FIXED": "1"}),
    (
        "intdot",
        "s8",
        "s32",
        {
            "X_T": "int",
            "X(w)": "int(w)",
            "BITS(x)": "uint(x)",
            "Y_T": "int",
            "Y(w)": "int(w)",
            "Y_BITS(y)": "uint(y)",
            "STEP(a,b,c)": "dotPacked4x8EXT(a, b) + (c)",
            "INTEGER": "1",
        },
    ),
)
"""Path, type, accumulator and what the source takes of each peak of vectors."""
_WIDTHS = {"scalar-f32": "1", "scalar-f16": "2", "dot2": "2", "intdot": "4"}
_WORKGROUP_TYPES = (("f16", "f16"), ("f16", "f32"), ("bf16", "f32"))


def ceilings() -> Iterator[Variant]:
    """The kernels of `copy` and `peak`."""
    copied: dict[str, Any] = {"op": "copy", "path": "scalar-f32", "type": "f32", "accumulator": "f32"}
    yield Variant("copy_shader", "copy/copy.comp", {}, copied)
    yield Variant("read_shader", "copy/copy.comp", {"READ": "1"}, copied)
    for path, kind, accumulator, defines in _SCALAR:
        facts = {"op": "peak", "path": path, "type": kind, "accumulator": accumulator}
        yield Variant(f"peak_{path.replace('-', '_')}", "peak/scalar.comp", {**defines, "WIDTH": _WIDTHS[path]}, facts)
    for a, b, c, saturating in TUPLE_TYPES:
        if not saturating:  # the same instructions, as far as is known
            yield _matrix("subgroup", a, b, c)
    for a, c in _WORKGROUP_TYPES:
        yield _matrix("workgroup", a, a, c)


def _matrix(scope: str, a: str, b: str, c: str) -> Variant:
    workgroup = scope == "workgroup"
    path = "coopmat2" if workgroup else "coopmat"
    defines = {f"{name}_T": GLSL_TYPES[kind] for name, kind in (("A", a), ("B", b), ("C", c))}
    defines |= {"A_BYTES": str(_BYTES.get(a, 1)), "C_BYTES": str(_BYTES[c])}
    defines |= {"WITH_BF16": "1"} if "bf16" in (a, b, c) else {}
    defines |= {"WITH_FLOAT8": "1"} if {a, b} & set(FLOAT8) else {}
    defines |= {"WORKGROUP": "1"} if workgroup else {}
    features = [STORAGE[kind] for kind in dict.fromkeys((a, b, c)) if kind in STORAGE]
    features += [*WORKGROUP_SCOPE, LOCAL_SIZE_ID] if workgroup else []
    facts = {"op": "peak", "path": path, "type": a, "accumulator": c, "a": a, "b": b, "c": c, "scope": scope, "features": features}
    return Variant(f"peak_{path}_{a}_{b}_{c}", "peak/matrix.comp", defines, facts, "vulkan1.3" if workgroup else "vulkan1.2")
