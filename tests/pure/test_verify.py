"""Verification: right results of every path pass, and every kind of wrong result is reported."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from vkprobe.formats import F32, FORMATS
from vkprobe.formats.activations import converted
from vkprobe.formats.blocks import Blocks
from vkprobe.ops import matrix_reference
from vkprobe.ops.dequant.reference import DequantReference
from vkprobe.ops.matrix_reference import Inputs, MatrixReference, exact_activations, nmse_bound

M, N, K = 100, 3, 512
PATHS = [("scalar-f32", "f32"), ("scalar-f16", "f32"), ("scalar-f16", "f16"), ("coopmat", "f32"), ("coopmat", "f16")]
TYPES = ("f16", "q4_0", "q8_0")


@cache
def reference(weight_type: str, m: int = M, n: int = N, k: int = K) -> MatrixReference:
    """The references of one workload."""
    return MatrixReference(weight_type, m, n, k, 7)


def product(weight_type: str, inputs: Inputs, path: str, accumulator: str) -> F32:
    """f32[n, m] as a kernel of this path gives it: inputs staged in the path's type, one rounding per step along K."""
    stage = np.float32 if path == "scalar-f32" else np.float16
    a = FORMATS[weight_type].decode(inputs.weights).astype(stage)
    b = inputs.activations.astype(stage)
    kind: type[np.floating] = np.float16 if accumulator == "f16" else np.float32
    sums = np.zeros((b.shape[0], a.shape[0]), kind)
    for k in range(a.shape[1]):  # a fused multiply-add: products of two f16 are exact in f64
        sums = (sums.astype(np.float64) + np.multiply.outer(b[:, k].astype(np.float64), a[:, k].astype(np.float64))).astype(kind)
    return sums.astype(np.float32)


@pytest.mark.parametrize("weight_type", TYPES)
@pytest.mark.parametrize(("path", "accumulator"), PATHS)
def test_correctly_rounded_results_pass(path: str, accumulator: str, weight_type: str) -> None:
    """Both passes accept them, and the random pass's error is well below its bound."""
    r = reference(weight_type)
    assert r.check_exact(product(weight_type, r.exact, path, accumulator)) is None
    verdict = r.check_random(product(weight_type, r.random, path, accumulator), nmse_bound(path, accumulator, weight_type, K))
    assert verdict.wrong is None
    assert 0 < verdict.nmse < verdict.bound
    assert np.isfinite(verdict.max_abs)


@pytest.mark.parametrize("k", [32, 512, 8192])
@pytest.mark.parametrize("weight_type", TYPES)
def test_exact_inputs_are_exact_in_f16(weight_type: str, k: int) -> None:
    """No order of summation leaves the integers that f16 holds: the sum of magnitudes stays within 2048, and often enough not zero."""
    r = reference(weight_type, 64, 4, k)
    a, b = FORMATS[weight_type].decode(r.exact.weights), r.exact.activations
    partial = np.cumsum(a[:, None, :] * b[None, :, :], axis=2)
    assert np.abs(partial).max() <= 2048
    assert np.count_nonzero(partial[:, :, -1]) > 0.9 * partial[:, :, -1].size
    assert set(np.unique(b)) <= {-1, 0, 1}


def test_one_wrong_element_is_reported() -> None:
    """The exact pass reports it, with its place and both values."""
    r = reference("q4_0")
    output = product("q4_0", r.exact, "scalar-f32", "f32")
    right = output[1, 97]
    output[1, 97] += 1
    wrong = r.check_exact(output)
    assert wrong == f"exact pass: 1 of 300 elements differ, the first at n=1 m=97: {right + 1:g} instead of {right:g}"


def test_an_unwritten_element_is_reported() -> None:
    """The poison is still there in either pass."""
    r = reference("q4_0")
    for inputs in (r.exact, r.random):
        output = product("q4_0", inputs, "scalar-f32", "f32")
        output.view(np.uint32)[2, 99] = 0xFFFFFFFF
        reason = r.check_exact(output) if inputs is r.exact else r.check_random(output, 1.0).wrong
        assert reason == "1 of 300 output elements were never written"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_reported(value: float) -> None:
    """A NaN or an infinity anywhere, whether in a sampled row or not."""
    r = reference("f16")
    output = product("f16", r.random, "scalar-f32", "f32")
    for m in (0, 50, 99):
        spoilt = output.copy()
        spoilt[0, m] = value
        assert r.check_random(spoilt, 1.0).wrong == "1 of 300 output elements are not finite"


def test_swapped_nibbles_are_reported() -> None:
    """A kernel that takes the high half of each byte first."""
    r = reference("q4_0")
    for inputs in (r.exact, r.random):
        blocks = inputs.weights.copy().reshape(M, -1, 18)
        blocks[:, :, 2:] = blocks[:, :, 2:] << 4 | blocks[:, :, 2:] >> 4
        output = product("q4_0", Inputs(blocks.reshape(M, -1), inputs.activations, inputs.stored), "scalar-f32", "f32")
        if inputs is r.exact:
            assert "exact pass" in (r.check_exact(output) or "")
        else:
            assert "random pass" in (r.check_random(output, nmse_bound("coopmat", "f16", "q4_0", K)).wrong or "")


def test_a_dropped_tail_along_k_is_reported() -> None:
    """The last 32 of 512 left out: both passes see it, even under the widest bound."""
    r = reference("f16")
    for inputs in (r.exact, r.random):
        short = inputs.activations.copy()
        short[:, -32:] = 0
        output = product("f16", Inputs(inputs.weights, short, inputs.stored), "scalar-f32", "f32")
        reason = r.check_exact(output) if inputs is r.exact else r.check_random(output, nmse_bound("coopmat", "f16", "f16", K)).wrong
        assert reason is not None


@pytest.mark.parametrize("weight_type", TYPES)
def test_an_f16_accumulator_under_the_name_of_an_f32_one_is_reported(weight_type: str) -> None:
    """The exact pass can't see it; the random pass's bound does."""
    r = reference(weight_type)
    output = product(weight_type, r.random, "coopmat", "f16")
    assert r.check_random(output, nmse_bound("coopmat", "f32", weight_type, K)).wrong is not None


def test_one_row_of_garbage_is_reported_by_the_random_pass() -> None:
    """Sums over rows catch it even where it isn't sampled."""
    r = reference("q8_0", 1000, 2, 64)
    output = product("q8_0", r.random, "scalar-f32", "f32")
    for m in range(0, 1000, 37):
        spoilt = output.copy()
        spoilt[:, m] += 1.0
        assert r.check_random(spoilt, nmse_bound("scalar-f32", "f32", "q8_0", 64)).wrong is not None


@pytest.mark.parametrize("weight_type", ["q4_0", "q8_0"])
def test_a_dequant_is_judged_bit_for_bit(weight_type: str) -> None:
    """The rounding mode granted: the nearest f16 and nothing else; without it, its neighbours too."""
    r = DequantReference(weight_type, 70, 96, 7)
    right = FORMATS[weight_type].decode(r.weights).astype(np.float16)
    assert r.check(right, True).wrong is None
    assert r.check(right, True).nmse == 0
    off = right.copy()
    off.view(np.uint16)[69, 95] += 1
    assert "1 of 6720 elements differ, the first at m=69 k=95" in (r.check(off, True).wrong or "")
    assert r.check(off, False).wrong is None
    off.view(np.uint16)[69, 95] += 1
    assert r.check(off, False).wrong is not None


def test_an_unwritten_dequant_is_reported() -> None:
    """Poison is a NaN, never the neighbour of a right value."""
    r = DequantReference("q4_0", 4, 32, 7)
    output = FORMATS["q4_0"].decode(r.weights).astype(np.float16)
    output.view(np.uint16)[3, 31] = 0xFFFF
    assert r.check(output, False).wrong is not None


def _random_output(r: MatrixReference, accumulator_noise: float = 0.0) -> F32:
    """The results of a right kernel on the random inputs, with relative noise of this deviation."""
    right = r.random.activations.astype(np.float64) @ FORMATS[r.type].decode(r.random.weights).astype(np.float64).T
    noise = accumulator_noise * np.random.default_rng(3).standard_normal(right.shape)
    output: F32 = (right + noise).astype(np.float32)
    return output


def test_a_common_factor_is_wrong() -> None:
    """Two percent too large is no rounding, though its square is far below the bound of f16 accumulation over many steps."""
    r = MatrixReference("f16", 64, 32, 4096, 7)
    bound = nmse_bound("coopmat", "f16", "f16", 14336)
    output = _random_output(r, 0.003)
    assert r.check_random(output, bound).wrong is None
    verdict = r.check_random((output * 1.02).astype(np.float32), bound)
    assert verdict.nmse < bound
    assert verdict.wrong is not None
    assert "all results are 1.02" in verdict.wrong


def test_one_element_far_off_is_wrong() -> None:
    """A mean over many elements hides a single zero; the element's own bound doesn't."""
    r = MatrixReference("f16", 64, 512, 512, 7)
    bound = nmse_bound("coopmat", "f16", "f16", 14336)
    output = _random_output(r, 0.003)
    n, m = (int(i) for i in np.unravel_index(np.argmax(np.abs(output)), output.shape))
    output[n, m] = 0
    verdict = r.check_random(output, bound)
    assert verdict.nmse < bound
    assert verdict.wrong is not None
    assert f"n={n} m={m} is off" in verdict.wrong


def test_exact_activations_meet_every_k() -> None:
    """Dense where f32 accumulates; several sparse passes where f16 does and N is small; one for many columns."""
    (dense,) = exact_activations(1, 4096, 7, "f32")
    assert np.all(np.abs(dense) == 1)
    sparse = exact_activations(1, 4096, 7, "f16")
    assert len(sparse) == 8
    assert np.mean(np.any(np.concatenate(sparse) != 0, axis=0)) > 0.7
    assert len(exact_activations(512, 14336, 7, "f16")) == 1


def test_an_unwritten_zero_is_reported() -> None:
    """Poison stands next to zero as an integer; it is no neighbour of it."""
    r = DequantReference("q4_0", 64, 64, 7)
    output = FORMATS["q4_0"].decode(r.weights).astype(np.float16)
    assert r.check(output, rounds_to_even=False).wrong is None
    zeros = np.nonzero(output == 0)
    assert zeros[0].size
    output.view(np.uint16)[zeros] = 0xFFFF
    verdict = r.check(output, rounds_to_even=False)
    assert verdict.wrong is not None
    assert "never written" in verdict.wrong


def test_neighbours_across_zero_are_one_step_apart() -> None:
    """The smallest numbers of either sign are two steps apart, and negative neighbours one: codes of negatives count downwards."""
    r = DequantReference("q8_0", 4, 32, 7)
    right = FORMATS["q8_0"].decode(r.weights).astype(np.float16)
    below = np.nextafter(right, np.float16(-np.inf))
    assert r.check(below, rounds_to_even=False).wrong is None
    assert r.check(below, rounds_to_even=True).wrong is not None


@pytest.mark.parametrize("weight_type", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_products_of_few_elements_pass(weight_type: str, k: int) -> None:
    """K of one: all elements of a row share an activation, and one rounding each is all the error that there is."""
    r = MatrixReference(weight_type, 64, 512, k, 7, accumulator="f32")
    right = r.random.activations.astype(np.float64) @ FORMATS[weight_type].decode(r.random.weights).astype(np.float64).T
    assert r.check_random(right.astype(np.float32), nmse_bound("scalar-f32", "f32", weight_type, k)).wrong is None


def test_a_part_of_k_is_judged_as_one() -> None:
    """An f16 accumulator that sees an eighth of K may be off by an eighth as much."""
    assert nmse_bound("coopmat", "f16", "f16", 1792) < nmse_bound("coopmat", "f16", "f16", 14336) / 7


def test_rounded_scales_of_integer_products_are_reported() -> None:
    """q8_1 products are summed in f32 from integers: weights rounded to f16 on the way are no rounding that the path explains."""
    r = MatrixReference("q4_k", 64, 8, 1024, 7, form="q8_1")
    blocks = FORMATS["q4_k"].decode(r.random.weights)
    given = converted("q8_1", r.random.activations, 8).values
    rounded = given @ blocks.astype(np.float16).astype(np.float64).T
    bound = nmse_bound("intdot", "f32", "q4_k", 1024, "q8_1")
    assert r.check_random(rounded.astype(np.float32), bound).wrong is not None
    values, offsets = FORMATS["q4_k"].parts(r.random.weights)
    sums = converted("q8_1", r.random.activations, 8).sums
    assert sums is not None
    exact = given @ values.astype(np.float64).T - sums @ offsets.astype(np.float64).T
    assert r.check_random(exact.astype(np.float32), bound).wrong is None


@pytest.mark.parametrize("weight_type", ["q4_k", "q5_k", "q6_k"])
def test_scales_that_a_gemm_stages_in_f16_are_explained(weight_type: str) -> None:
    """A GEMM rounds a sub-block's scale and its offset, a GEMV neither; truncating instead of rounding is reported."""
    r = MatrixReference(weight_type, 256, 64, 1024, 7, form="q8_1")
    weight_format = FORMATS[weight_type]
    assert isinstance(weight_format, Blocks)
    scale, codes, offset = weight_format.scaled(weight_format.records(r.random.weights))
    offset = np.zeros((256, 1024 // 32), np.float32) if offset is None else offset.reshape(256, -1)
    given = converted("q8_1", r.random.activations, 64)
    assert given.sums is not None

    def verdict(scale: NDArray[np.floating], offset: NDArray[np.floating], *, staged: bool) -> str | None:
        values = (scale[..., None].astype(np.float64) * codes).reshape(256, 1024)
        product = given.values @ values.T - given.sums @ offset.astype(np.float64).T
        return r.check_random(product.astype(np.float32), nmse_bound("intdot", "f32", weight_type, 1024, "q8_1", staged=staged)).wrong

    rounded = scale.astype(np.float16), offset.astype(np.float16)
    assert verdict(*rounded, staged=True) is None
    assert "random pass" in (verdict(*rounded, staged=False) or "")
    bits = [(x.view(np.uint32) & 0xFFFFE000).view(np.float32) for x in (scale, np.ascontiguousarray(offset))]
    assert "random pass" in (verdict(*bits, staged=True) or "")


def test_repeated_rows_are_judged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeated weights give repeated rows, which are compared with the first; both passes report a wrong one among the repeats."""
    monkeypatch.setattr(matrix_reference, "_MOST_DISTINCT", 64 * 37)
    r = MatrixReference("f16", 100, 2, 64, 7)
    assert r.distinct == 37
    for inputs, judge in (
        (r.exact, r.check_exact),
        (r.random, lambda out: r.check_random(out, nmse_bound("coopmat", "f32", "f16", 64)).wrong),
    ):
        rows = FORMATS["f16"].decode(inputs.weights)[np.arange(100) % 37]
        output = (inputs.activations.astype(np.float64) @ rows.astype(np.float64).T).astype(np.float32)
        assert judge(output) is None
        output[:, 75:80] = output[:, 74:79]
        assert judge(output) is not None


def test_flushed_subnormals_are_right_only_where_they_may_be() -> None:
    """A device that offers no DenormPreserve may give zero for them, and for nothing larger."""
    r = DequantReference("q4_k", 8, 256, 7)
    right = FORMATS["q4_k"].decode(r.weights).astype(np.float16)
    flushed = np.where(np.abs(right) < 2.0**-14, np.float16(0), right)
    assert (flushed != right).any()
    assert r.check(flushed, True, keeps_subnormals=False).wrong is None
    assert r.check(flushed, True, keeps_subnormals=True).wrong is not None
    largest = np.unravel_index(np.argmax(np.abs(flushed)), flushed.shape)
    flushed[largest] = 0
    assert r.check(flushed, True, keeps_subnormals=False).wrong is not None
