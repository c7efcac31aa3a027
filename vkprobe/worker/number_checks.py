"""Checks of number formats and of arithmetic on them: conversions of bf16, float8 and microscaling types, dot products, f16.

Exact results must be exact. Where the specification leaves a choice (rounding, subnormals, order of additions), the result must be
one of those allowed, and which one is a fact.
Source: GL_EXT_bfloat16, GL_EXT_float_e5m2, GL_EXT_float_e4m3, GL_EXT_integer_dot_product; SPV_VALVE_mixed_float_dot_product;
OCP Microscaling Formats v1.0; Vulkan, "Precision and Operation of SPIR-V Instructions".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vkprobe.formats.components import F64, decode, encode
from vkprobe.worker.checks import Check, Input, Outcome, Run, differing

_SEED = 20261124
_A, _B, _C = 0, 1, 3  # bindings of inputs
_LEAST_NORMAL_F32 = 2.0**-126
_LEAST_NORMAL_F16 = 2.0**-14

_CODES = {"bf16": 1 << 16, "e4m3": 256, "e5m2": 256, "e2m1": 16, "e3m2": 64, "e2m3": 64, "ue8m0": 256, "mxint8": 256}
_SUB_BYTE = {"e2m1": 4, "e3m2": 6, "e2m3": 6}
_DECODE, _ENCODE, _SATURATED, _TO_HALF = range(4)


@np.errstate(invalid="ignore")  # numpy warns of signalling NaN
def code_values(name: str) -> F64:
    """The value of each code of a type.

    >>> code_values("e2m1")[:8].tolist(), code_values("mxint8")[[1, 255]].tolist()
    ([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0], [0.015625, -0.015625])
    """
    codes = np.arange(_CODES[name])
    if name == "ue8m0":
        return np.where(codes == 255, np.nan, np.exp2(codes - 127.0))
    if name == "mxint8":
        return np.where(codes >= 128, codes - 256, codes) / 64.0
    if name not in _SUB_BYTE:
        return decode(name, codes.astype("<u2" if name == "bf16" else np.uint8))
    exponent_bits, mantissa_bits = int(name[1]), int(name[3])
    bias = (1 << (exponent_bits - 1)) - 1
    sign = np.where(codes >> (exponent_bits + mantissa_bits), -1.0, 1.0)
    exponent = codes >> mantissa_bits & (1 << exponent_bits) - 1
    fraction = (codes & (1 << mantissa_bits) - 1) / (1 << mantissa_bits)
    return sign * np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * np.exp2(exponent - float(bias)))


@np.errstate(invalid="ignore")
def numbers(run: Run, parameters: Mapping[str, Any]) -> Outcome:
    """Every code of a type to f32; and where the type can be converted to: back, in between, beyond its range, and with saturation."""
    name, local = str(parameters["type"]), int(parameters["local"])
    facts: dict[str, Any] = {}
    values = code_values(name)
    for shift in (0, 8 - _SUB_BYTE[name]) if name in _SUB_BYTE else (0,):
        actual = _words(run, np.arange(values.size) << shift, (_DECODE, shift, 0), local).view(np.float32).astype(np.float64)
        wrong = _exact_or_flushed(actual, values, _LEAST_NORMAL_F32, facts)
        if wrong:
            at = f", the codes {shift} bits up" if shift else ""
            return f"{name} to f32{at}, by code: {wrong}", facts
    if not parameters.get("encodes"):
        return None, facts
    wrong = _encoding(run, name, values, local, facts)
    if wrong is None and name != "bf16":
        wrong = _saturated(run, name, values, local) or _halves(run, name, values, local, facts)
    return wrong, facts


def _words(run: Run, words: Input, push: tuple[int, int, int], local: int) -> Input:
    """One output word of each input word."""
    groups = -(-words.size // local)
    padded = np.zeros(groups * local, np.uint32)
    padded[: words.size] = words
    return run({_A: padded}, padded.nbytes, push, groups).view(np.uint32)[: words.size]


def _as_words(values: F64) -> Input:
    return values.astype(np.float32).view(np.uint32)


def _exact_or_flushed(actual: F64, wanted: F64, least_normal: float, facts: dict[str, Any]) -> str | None:
    """Results must be equal; those too small for a normal number may be zero."""
    small = (np.abs(wanted) < least_normal) & (wanted != 0)
    if small.any():
        flushed = bool((actual[small] == 0).all())
        facts["subnormals"] = "flushed" if flushed else "kept"
        wanted = np.where(small, 0.0, wanted) if flushed else wanted
    return differing(actual, wanted, "i")


def _encoding(run: Run, name: str, values: F64, local: int, facts: dict[str, Any]) -> str | None:
    """f32 to the type: what it holds stays, what lies between goes to a neighbour, what is beyond its range is a fact."""
    positive = np.unique(values[np.isfinite(values) & (values > 0)])
    least = 2.0 ** {"bf16": -126, "e4m3": -6, "e5m2": -14}[name]
    normal = positive[positive >= least]
    exact = np.concatenate([normal, -normal, [0.0]])
    back = _back(run, name, exact, _ENCODE, local)
    wrong = differing(back, exact, "i")
    if wrong:
        return f"f32 to {name}, values that it holds: {wrong}"
    lower, upper = normal[:-1], normal[1:]
    middle = (lower + upper) / 2
    step = middle * 2.0**-20
    between = np.concatenate([middle, middle - step, middle + step])
    down, up = np.tile(lower, 3), np.tile(upper, 3)
    for sign in (1.0, -1.0):
        actual = sign * _back(run, name, sign * between, _ENCODE, local)
        astray = np.nonzero((actual != down) & (actual != up))[0]
        if astray.size:
            i = int(astray[0])
            return f"f32 to {name}: {sign * between[i]:.9g} gave {sign * actual[i]:.9g}, neither {sign * down[i]:g} nor {sign * up[i]:g}"
        facts["rounding"] = _how_rounded(actual, between, down, up, facts.get("rounding") if sign < 0 else None)
    largest = float(normal[-1])
    beyond = float(_back(run, name, np.array([min(largest * 4, 3.4028234e38)]), _ENCODE, local)[0])
    facts["overflow"] = "NaN" if np.isnan(beyond) else "infinity" if np.isinf(beyond) else "largest" if beyond == largest else f"{beyond:g}"
    special = _back(run, name, np.array([np.nan]), _ENCODE, local)
    return None if np.isnan(special[0]) else f"f32 to {name}: NaN gave {special[0]:g}"


def _back(run: Run, name: str, values: F64, mode: int, local: int) -> F64:
    """The values of the codes that f32 `values` are converted to."""
    codes = _words(run, _as_words(values), (mode, 0, 0), local)
    return decode(name, codes.astype("<u2" if name == "bf16" else np.uint8))


def _how_rounded(actual: F64, exact: F64, down: F64, up: F64, before: Any = None) -> str:
    """The rounding that explains results between two neighbours; the even neighbour is the one with fewer significand bits."""
    middle = (down + up) / 2
    # Neighbours as multiples of their distance: the even multiple is the even neighbour.
    even = np.where(np.round(down / (up - down)) % 2 == 0, down, up)
    nearest = np.where(exact == middle, even, np.where(exact < middle, down, up))
    how = "to nearest even" if np.array_equal(actual, nearest) else "toward zero" if np.array_equal(actual, down) else "otherwise"
    return how if before in (None, how) else f"{before} or {how}"


def _saturated(run: Run, name: str, values: F64, local: int) -> str | None:
    largest = float(np.max(values[np.isfinite(values)]))
    asked = np.array([largest * 4, -largest * 4, 1e30, -1e30, np.inf, -np.inf, 1.0, -1.5])
    wanted = np.concatenate([np.tile([largest, -largest], 3), [1.0, -1.5]])
    wrong = differing(_back(run, name, asked, _SATURATED, local), wanted, "i")
    return f"f32 to {name} with saturation: {wrong}" if wrong else None


def _halves(run: Run, name: str, values: F64, local: int, facts: dict[str, Any]) -> str | None:
    words = _words(run, np.arange(values.size), (_TO_HALF, 0, 0), local)
    seen: dict[str, Any] = {}
    wrong = _exact_or_flushed(words.astype("<u2").view("<f2").astype(np.float64), values, _LEAST_NORMAL_F16, seen)
    if "subnormals" in seen:
        facts["f16_subnormals"] = seen["subnormals"]
    return f"{name} to f16, by code: {wrong}" if wrong else None


_EXTREMES = {True: (-128, -127, -1, 0, 1, 127), False: (0, 1, 127, 128, 254, 255)}
_LIMITS = {True: (-(2**31), 2**31 - 1), False: (0, 2**32 - 1)}
_SIGNS = {"signed": (True, True, True), "unsigned": (False, False, False), "mixed": (True, False, True)}


def integer_dot(run: Run, parameters: Mapping[str, Any]) -> Outcome:
    """Four products and an accumulator, on extreme and on random numbers; the accumulation wraps around, or clamps."""
    a_signed, b_signed, signed = _SIGNS[str(parameters["signs"])]
    saturating, local = bool(parameters["mode"]), int(parameters["local"])
    rng = np.random.default_rng([_SEED, a_signed, b_signed])
    count = 64 * local
    a, b = (_eights(rng, is_signed, count) for is_signed in (a_signed, b_signed))
    least, most = _LIMITS[signed]
    c = rng.choice(np.array([0, 1, 77, least, least + 1, least + 70000, most - 70000, most - 1, most]), count)
    exact = np.sum(a * b, axis=1) + c
    wanted = np.clip(exact, least, most) if saturating else np.mod(exact - least, most - least + 1) + least
    inputs = {_A: _packed(a), _B: _packed(b), _C: (c & 0xFFFFFFFF).astype(np.uint32)}
    output = run(inputs, 4 * count, (int(saturating), 0, 0), count // local)
    actual = output.view(np.int32 if signed else np.uint32).astype(np.int64)
    different = np.nonzero(actual != wanted)[0]
    if not different.size:
        return None, {}
    i = int(different[0])
    asked = f"{a[i].tolist()} . {b[i].tolist()} + {c[i]}"
    return f"{different.size} of {count} results differ, the first of {asked}: {actual[i]} instead of {wanted[i]}", {}


def _eights(rng: np.random.Generator, signed: bool, count: int) -> Input:
    extreme = rng.choice(np.array(_EXTREMES[signed]), (count // 2, 4))
    extreme[: len(_EXTREMES[signed])] = np.array(_EXTREMES[signed])[:, None]  # all four the same, too
    least, most = _EXTREMES[signed][0], _EXTREMES[signed][-1]
    return np.concatenate([extreme, rng.integers(least, most + 1, (count - count // 2, 4))]).astype(np.int64)


def _packed(eights: Input) -> Input:
    return np.ascontiguousarray((eights & 0xFF).astype(np.uint8)).view(np.uint32).reshape(-1)


def float_dot(run: Run, parameters: Mapping[str, Any]) -> Outcome:
    """Products of small integers and an accumulator, exact in every type; and whether f32 results keep all of a product."""
    vector, result = str(parameters["vector"]), str(parameters["result"])
    width, local = int(parameters["width"]), int(parameters["local"])
    accumulates = bool(parameters["accumulates"])
    rng = np.random.default_rng([_SEED, width])
    count = 16 * local
    a, b = (rng.integers(-8, 9, (count, width)).astype(np.float64) for _ in range(2))
    c = rng.integers(-8, 9, count).astype(np.float64) * accumulates
    actual = _dotted(run, (vector, result), a, b, c, local)
    wrong = differing(actual, np.sum(a * b, axis=1) + c, "i")
    if wrong or result != "f32" or vector not in ("f16", "bf16"):
        return wrong, {}
    one = 1 + 2.0 ** -(10 if vector == "f16" else 7)
    a, b, c = np.full((local, width), 0.0), np.full((local, width), one), np.zeros(local)
    a[:, 0] = one
    kept = _dotted(run, (vector, result), a, b, c, local)[0] == one * one
    return None, {"products": "exact" if kept else "rounded"}


def _dotted(run: Run, types: tuple[str, str], a: F64, b: F64, c: F64, local: int) -> F64:
    vector, result = types
    inputs = {_A: _vectors(vector, a), _B: _vectors(vector, b), _C: c.astype(np.float32)}
    words = run(inputs, 4 * len(c), (0, 0, 0), len(c) // local).view(np.uint32)
    if result == "f32":
        return words.view(np.float32).astype(np.float64)
    return decode(result, words.astype("<u2").view("<f2") if result == "f16" else words.astype("<u2"))


def _vectors(name: str, values: F64) -> Input:
    return np.ascontiguousarray(encode(name, values)).view(np.uint32)


_MULTIPLY, _ADD, _FMA, _SINGLE = 0, 1, 2, 4


def half(run: Run, parameters: Mapping[str, Any]) -> Outcome:
    """f16 products, sums and multiply-adds, each of pairs and of single numbers, correctly rounded."""
    local = int(parameters["local"])
    rng = np.random.default_rng(_SEED)
    count = 16 * local
    x, y, z = (rng.standard_normal((count, 2)).astype(np.float16) for _ in range(3))
    wide = [v.astype(np.float64) for v in (x, y, z)]
    facts: dict[str, Any] = {}
    for single in (0, _SINGLE):
        form = "single numbers" if single else "pairs"
        for mode, words, exact in ((_MULTIPLY, "products", wide[0] * wide[1]), (_ADD, "sums", wide[0] + wide[1])):
            actual = _pairs(run, (x, y, z), mode + single, local)
            down, up = _halves_around(exact)
            wrong = _between(actual, exact, down, up)
            if wrong:
                return f"{words} of {form}: {wrong}", facts
            inexact = (down != up) & (np.abs(exact) >= _LEAST_NORMAL_F16)
            sign = np.where(exact[inexact] < 0, -1.0, 1.0)
            lower, upper = np.sort([sign * down[inexact], sign * up[inexact]], axis=0)
            facts["rounding"] = _how_rounded(sign * actual[inexact], np.abs(exact[inexact]), lower, upper, facts.get("rounding"))
        actual = _pairs(run, (x, y, z), _FMA + single, local)
        wrong = _multiplied_and_added(actual, wide, facts)
        if wrong:
            return f"multiply-adds of {form}: {wrong}", facts
    tiny, one, zero = (np.full((local, 2), value, np.float16) for value in (2.0**-24, 1.0, 0.0))
    kept = _pairs(run, (tiny, one, zero), _MULTIPLY, local)[0, 0] == 2.0**-24
    facts["subnormals"] = "kept" if kept else "flushed"
    return None, facts


def _pairs(run: Run, operands: tuple[Input, Input, Input], mode: int, local: int) -> F64:
    x, y, z = (np.ascontiguousarray(v).view(np.uint32).reshape(-1) for v in operands)
    words = run({_A: x, _B: y, _C: z}, 4 * x.size, (mode, 0, 0), x.size // local)
    return words.view(np.float16).reshape(-1, 2).astype(np.float64)


def _halves_around(exact: F64) -> tuple[F64, F64]:
    """The f16 numbers on either side, both the number itself where it is one."""
    near = exact.astype(np.float16)
    value = near.astype(np.float64)
    below = np.nextafter(near, np.float16(-np.inf)).astype(np.float64)
    above = np.nextafter(near, np.float16(np.inf)).astype(np.float64)
    return np.where(value > exact, below, value), np.where(value < exact, above, value)


def _between(actual: F64, exact: F64, down: F64, up: F64) -> str | None:
    """Describe the results that are neither of the two neighbours; those too small for a normal number may be zero."""
    right = (actual == down) | (actual == up) | ((np.abs(exact) < _LEAST_NORMAL_F16) & (actual == 0))
    return _first(right, actual, exact)


def _first(right: NDArray[np.bool_], actual: F64, exact: F64) -> str | None:
    if right.all():
        return None
    at = np.unravel_index(int(np.argmin(right)), right.shape)
    return f"{np.count_nonzero(~right)} of {right.size} are wrong, the first {actual[at]:.9g} where {exact[at]:.9g} is to be rounded"


def _multiplied_and_added(actual: F64, operands: list[F64], facts: dict[str, Any]) -> str | None:
    """Rounded once, or after the multiplication too: both are allowed, which one is a fact."""
    x, y, z = operands
    exact = x * y + z
    down, up = _halves_around(exact)
    if _between(actual, exact, down, up) is None:
        facts["fma"] = "fused" if facts.get("fma", "fused") == "fused" else "fused or not"
        return None
    parts = [_halves_around(product + z) for product in _halves_around(x * y)]
    lowest, highest = np.minimum(*(p[0] for p in parts)), np.maximum(*(p[1] for p in parts))
    facts["fma"] = "not fused"
    return _first((actual >= lowest) & (actual <= highest), actual, exact)


NUMBER_CHECKS: Mapping[str, Check] = {"numbers": numbers, "integer_dot": integer_dot, "float_dot": float_dot, "half": half}
