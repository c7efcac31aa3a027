"""References of matrix products: inputs and expected results in numpy, and bounds that follow from path, accumulator and K.

Two passes. Exact: small integers for which the path's arithmetic is exact, f16 accumulation included, so every element
must be equal; this catches single wrong elements, which no tolerance can. Random: random valid blocks against a
float64 reference from the decoded weights, sampled rows in full and all rows by block sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from vkprobe.formats import F32, FORMATS, U8
from vkprobe.formats.activations import F64, Activations, converted
from vkprobe.ops.reference import SEED, Pass, SharedReferences, Verdict
from vkprobe.program import Program
from vkprobe.weights import WEIGHT_TYPES

_SAMPLED_ROWS = 64
_BLOCK_ROWS = 64
_SLICE_ELEMENTS = 1 << 24
_MOST_EXACT_PASSES = 8
_MEETINGS = 3
_EXACT_DEVIATION = 200.0  # of exact results: ten of it stay within the 2048 up to which f16 holds every integer
SMALLEST_NORMAL_F16 = 2.0**-14
UNIT_F16 = 2.0**-11
_UNIT_F32 = 2.0**-24
_MARGIN = 4.0
_OUTLIER = 8.0  # times the bound's own deviation
_GAIN = 0.25  # of the bound's deviation: errors of many elements cancel
_GAIN_SPREAD = 3.0
_FEW = 8  # products: fewer scatter more than their mean square says
_SHORTEST_STEP = 8  # of cooperative matrices along K
_MOST_DISTINCT = 1 << 26  # weights: beyond it rows repeat, so that the host keeps up


class Inputs(Struct, frozen=True):
    """`weights`: u8[distinct, row_bytes]; `activations`: f32[n, k]; `stored`: u8[bytes], these as the kernel reads them."""

    weights: U8
    activations: F32
    stored: U8


def nmse_bound(path: str, accumulator: str, weight_type: str, k: int, form: str = "f32", *, staged: bool = False) -> float:
    """The largest normalised mean square error that rounding explains, with a margin of four.

    Each rounding to a format of unit u adds a relative variance of at most u^2 / 3; an accumulator rounds once per step
    on partial sums whose mean square is half the last one's. Activations that are given converted (`form`) add none.
    Matrix units may cut instead of rounding to f32 (NVIDIA's do), once for each step along K: that error is no scatter but a bias.
    coopmat2 decodes a K type in f16: scale and offset are rounded products, and their difference is rounded again.
    A GEMM of path intdot stages (`staged`) the products that scale a K type's sub-block, and its offset, in f16: a relative error of
    at most 2^-11 of each term, and the terms' mean squares add up to the result's.
    """
    row = WEIGHT_TYPES[weight_type]
    rounding = UNIT_F16**2 / 3
    inputs = 0.0
    if path not in ("scalar-f32", "intdot") and accumulator != "s32":
        if form == "f32":
            inputs += rounding  # activations are staged as f16
        if weight_type not in ("f16", "bf16"):
            inputs += rounding  # and so are decoded weights
    if path == "coopmat2":
        inputs += row.matrix_roundings * rounding
    if path == "intdot" and staged and row.q8_1 is not None and row.q8_1.scaled_products:
        inputs += rounding
    unit = UNIT_F16 if accumulator == "f16" else _UNIT_F32
    if path.startswith("coopmat") and accumulator == "f32":
        inputs += (max(1.0, k / _SHORTEST_STEP) * unit) ** 2
    return _MARGIN * (inputs + max(k, _FEW) / 2 * unit**2 / 3)


def exact_activations(n: int, k: int, seed: int, accumulator: str = "f16") -> list[F32]:
    """Activations of -1, 0, 1: f32[n, k], with which no partial sum of exact weights leaves the accumulator's integers.

    Dense for f32. For f16 so sparse that few columns alone would leave most of K unread: several passes then, so that every
    k is met three times on average, and eight passes at most.
    """
    rng = np.random.default_rng([seed, 1, n])
    mean_square = 60.0  # of the largest of the formats' exact weights
    density = 1.0 if accumulator == "f32" else min(1.0, _EXACT_DEVIATION**2 / (mean_square * k))
    passes = min(_MOST_EXACT_PASSES, math.ceil(_MEETINGS / (n * density))) if density < 1 else 1
    activations = []
    for _ in range(passes):
        signs = 1.0 - 2.0 * rng.integers(0, 2, (n, k)).astype(np.float32)
        activations.append(np.where(rng.random((n, k)) < density, signs, np.float32(0)).astype(np.float32))
    return activations


def exact_q8_1_activations(n: int, k: int, seed: int) -> list[F32]:
    """Activations that q8_1 holds as they are: f32[n, k], in each block of 32 one of +-127, so that d is one, the others -1, 0, 1."""
    rng = np.random.default_rng([seed, 4, n])
    blocks = rng.integers(-1, 2, (n * k // 32, 32)).astype(np.float32)
    blocks[np.arange(blocks.shape[0]), rng.integers(0, 32, blocks.shape[0])] = 127 * (1 - 2 * rng.integers(0, 2, blocks.shape[0]))
    return [blocks.reshape(n, k)]


def random_activations(n: int, k: int, seed: int) -> F32:
    """Normal activations: f32[n, k]; with random weights, results have a deviation of about one."""
    return np.random.default_rng([seed, 2, n]).standard_normal((n, k), dtype=np.float32)


def row_slices(m: int, k: int) -> list[slice]:
    """The rows of a matrix in slices of whole blocks that keep intermediate arrays small."""
    step = max(_BLOCK_ROWS, _SLICE_ELEMENTS // k // _BLOCK_ROWS * _BLOCK_ROWS)
    return [slice(i, min(i + step, m)) for i in range(0, m, step)]


def _unwritten(output: F32) -> str | None:
    """The output was poisoned with all-ones words, a NaN that no arithmetic makes."""
    missing = int(np.count_nonzero(output.view(np.uint32) == 0xFFFFFFFF))
    return f"{missing} of {output.size} output elements were never written" if missing else None


def distinct_rows(m: int, k: int) -> int:
    """How many of m rows of weights differ; the others repeat them, at a distance that no tile divides.

    >>> distinct_rows(4096, 14336), distinct_rows(151936, 4096)
    (4096, 16381)
    """
    if m * k <= _MOST_DISTINCT:
        return m
    rows = max(_MOST_DISTINCT // k, 2)
    while any(rows % divisor == 0 for divisor in range(2, math.isqrt(rows) + 1)):
        rows -= 1
    return min(rows, m)


class WeightsReference:
    """The two sets of weights of a type and shape, and what references need of them: shared by every N and every kernel."""

    def __init__(self, weight_type: str, m: int, k: int, seed: int) -> None:
        self.type, self.m, self.k, self.seed = weight_type, m, k, seed
        self.distinct = distinct_rows(m, k)
        weight_format, rng = FORMATS[weight_type], np.random.default_rng([seed, 3])
        self.exact = weight_format.exact(rng, self.distinct, k)
        self.random = weight_format.random(rng, self.distinct, k, 1 / math.sqrt(k))
        self.rows = np.sort(rng.choice(self.distinct, min(self.distinct, _SAMPLED_ROWS), replace=False))
        self.sampled: F64 = weight_format.decode(self.random[self.rows]).astype(np.float64)
        self._sums: F64 | None = None
        self._parts: tuple[F64, F64, F64, F64] | None = None

    @property
    def block_sums(self) -> F64:
        """The random weights' sums over 64 rows: f64[distinct / 64, k]."""
        if self._sums is None:
            decode = FORMATS[self.type].decode
            self._sums = np.concatenate([_summed(decode(self.random[s])) for s in row_slices(self.distinct, self.k)])
        return self._sums

    @property
    def parts(self) -> tuple[F64, F64, F64, F64]:
        """Parts of products with q8_1: values and offsets of the sampled rows, and their sums over 64 rows."""
        if self._parts is None:
            parts = FORMATS[self.type].parts
            values, offsets = parts(self.random[self.rows])
            sums = [[_summed(x) for x in parts(self.random[s])] for s in row_slices(self.distinct, self.k)]
            self._parts = (
                values.astype(np.float64),
                offsets.astype(np.float64),
                np.concatenate([s[0] for s in sums]),
                np.concatenate([s[1] for s in sums]),
            )
        return self._parts


def _summed(rows: NDArray[np.floating]) -> F64:
    summed: F64 = np.add.reduceat(rows, np.arange(0, rows.shape[0], _BLOCK_ROWS), axis=0, dtype=np.float64)
    return summed


def ordered(values: NDArray[np.float16]) -> NDArray[np.int32]:
    """Integers in the order of the values, one apart where these are neighbours."""
    codes = values.view(np.int16).astype(np.int32)
    return np.where(codes < 0, -(codes & 0x7FFF), codes)


class MatrixReference:
    """The references of a matrix product D[n, m] = sum over k of A[m, k] * B[n, k]; made once per workload, shared by all its kernels.

    Args:
        weights: of the same type, m, k and seed, where they are there already.
        accumulator: `f16`, `f32` or `s32`; exact inputs keep within its integers.
        form: in which the kernel reads activations (f32, f16, bf16, q8_1); the references are of those.
        rows: of activations on the device.
    """

    def __init__(
        self,
        weight_type: str,
        m: int,
        n: int,
        k: int,
        seed: int,
        weights: WeightsReference | None = None,
        accumulator: str = "f16",
        form: str = "f32",
        rows: int = 0,
    ) -> None:
        self.type, self.m, self.n, self.k, self.form = weight_type, m, n, k, form
        row = WEIGHT_TYPES[weight_type]
        # Kernels of int8 matrices take a type's constant offset off its codes; the others' offsets meet the stored sums.
        self._offset = form == "q8_1" and not (accumulator == "s32" and row.q8_1 is not None and not row.q8_1.int8_offset)
        w = self._weights = weights or WeightsReference(weight_type, m, k, seed)
        self.distinct = w.distinct
        exact = exact_q8_1_activations(n, k, seed) if form == "q8_1" else exact_activations(n, k, seed, accumulator)
        self.exact_inputs = [Inputs(w.exact, b, converted(form, b, rows or n).stored) for b in exact]
        self.exact = self.exact_inputs[0]
        activations = random_activations(n, k, seed)
        given = converted(form, activations, rows or n)
        self.random = Inputs(w.random, activations, given.stored)
        decode = FORMATS[weight_type].decode
        # Integers below 2^24: float32 products and sums are exact in any order.
        stacked = np.concatenate(exact)
        results = np.concatenate([stacked @ decode(w.exact[s]).T for s in row_slices(self.distinct, k)], axis=1)
        self._exact_results = results.reshape(len(exact), n, self.distinct)
        self._rows = w.rows
        self._sampled, self._blocks = self._products(given)
        # A result of few elements may be near zero by chance: errors are then measured against what is typical.
        typical = float(np.sum(given.values**2)) / k
        self._sampled_scale = max(float(np.sum(self._sampled**2)), typical * float(np.sum(w.sampled**2)))
        of_all = self._sampled_scale * self.distinct / len(self._rows)  # also what sums of rows come to, if these have nothing in common
        self._blocks_scale = max(float(np.sum(self._blocks**2)), typical * float(np.sum(w.block_sums**2)), of_all)

    def _products(self, given: Activations) -> tuple[F64, F64]:
        """Products of the sampled rows, and of the sums over rows; for q8_1 by ggml's rule: offsets multiply each block's stored sum."""
        w = self._weights
        if given.sums is None or not self._offset:
            return given.values @ w.sampled.T, given.values @ w.block_sums.T
        values, offsets, value_sums, offset_sums = w.parts
        return given.values @ values.T - given.sums @ offsets.T, given.values @ value_sums.T - given.sums @ offset_sums.T

    def check_exact(self, output: F32, number: int = 0) -> str | None:
        """Describe the fault in `output`: f32[n, m], from the exact weights and activations `number`; None if every element is equal."""
        wanted = self._exact_results[number]
        unwritten = _unwritten(output)
        if unwritten:
            return unwritten
        count, first = 0, ""
        for start in range(0, self.m, self.distinct):
            part = output[:, start : start + self.distinct]
            different = part != wanted[:, : part.shape[1]]
            if not count and different.any():
                n, m = (int(i[0]) for i in np.nonzero(different))
                first = f"the first at n={n} m={start + m}: {part[n, m]:g} instead of {wanted[n, m]:g}"
            count += int(np.count_nonzero(different))
        return f"exact pass: {count} of {output.size} elements differ, {first}" if count else None

    def check_random(self, output: F32, bound: float) -> Verdict:
        """Judge `output`: f32[n, m] for the random inputs."""
        method = f"exact pass, every element; random pass, {len(self._rows)} rows in full and all rows in sums of {_BLOCK_ROWS}, float64"
        wrong = _unwritten(output)
        if wrong is None and not np.isfinite(output).all():
            wrong = f"{int(np.count_nonzero(~np.isfinite(output)))} of {output.size} output elements are not finite"
        if wrong is not None:
            return Verdict(method=method, nmse=math.nan, max_abs=math.nan, bound=bound, wrong=wrong)
        error = output[:, self._rows].astype(np.float64) - self._sampled
        nmse = float(np.sum(error**2)) / self._sampled_scale
        mine = output[:, : self.distinct]
        sums = np.add.reduceat(mine.astype(np.float64), np.arange(0, self.distinct, _BLOCK_ROWS), axis=1)
        block_nmse = float(np.sum((sums - self._blocks) ** 2)) / self._blocks_scale
        worst = max(nmse, block_nmse)
        if not worst <= bound:
            which = "sampled rows" if nmse == worst else "sums over rows"
            wrong = f"random pass: nmse {worst:.3g} over {which} is beyond the bound {bound:.3g}"
        wrong = wrong or self._outlier(error, bound) or self._gain(output, bound) or self._repeats(output, bound)
        return Verdict(method=method, nmse=worst, max_abs=float(np.max(np.abs(error))), bound=bound, wrong=wrong)

    def _outlier(self, error: F64, bound: float) -> str | None:
        """A single element that is off by more than rounding explains, which a mean over many hides."""
        limit = _OUTLIER * math.sqrt(bound * self._sampled_scale / error.size)
        worst = int(np.argmax(np.abs(error)))
        n, row = divmod(worst, error.shape[1])
        off = abs(float(error[n, row]))
        return None if off <= limit else f"random pass: the element n={n} m={int(self._rows[row])} is off by {off:.3g}, beyond {limit:.3g}"

    def _repeats(self, output: F32, bound: float) -> str | None:
        """Rows of equal weights whose results differ by more than rounding explains."""
        mine = output[:, : self.distinct].astype(np.float64)
        square = float(np.sum(mine**2))
        for start in range(self.distinct, self.m, self.distinct):
            part = output[:, start : start + self.distinct].astype(np.float64)
            nmse = float(np.sum((part - mine[:, : part.shape[1]]) ** 2)) / square
            if nmse > 2 * bound:
                return (
                    f"random pass: rows from m={start} on have the weights of those from 0 on, and results that differ by nmse {nmse:.3g}"
                )
        return None

    def _gain(self, output: F32, bound: float) -> str | None:
        """A common factor on all results, too small to show as an error but no rounding error either."""
        got = output[:, self._rows].astype(np.float64)
        gain = float(np.sum(got * self._sampled)) / max(float(np.sum(self._sampled**2)), 1e-300)
        share = float(np.sum(self._sampled**2)) / self._sampled_scale
        limit = math.sqrt(bound) * max(_GAIN, _GAIN_SPREAD / math.sqrt(got.size)) / max(math.sqrt(share), 1e-6)
        return (
            None if abs(gain - 1) <= limit else f"random pass: all results are {gain:.4f} times what they should be, beyond {limit:.2g} off"
        )


class ProductReference:
    """The reference of one program of a matrix product: weights and activations pass by pass."""

    def __init__(self, program: Program, matrices: MatrixReference) -> None:
        self._program, self._matrices = program, matrices
        self._shape = program.cell.axis("n"), program.cell.axis("m")
        self.verdict: Verdict

    @property
    def exact(self) -> list[Pass]:
        """Small integers: every element must be equal."""
        return [Pass(_inputs(i), self._exactly(number)) for number, i in enumerate(self._matrices.exact_inputs)]

    def _exactly(self, number: int) -> Callable[[U8], str | None]:
        def judge(output: U8) -> str | None:
            return self._matrices.check_exact(self._matrix(output), number)

        return judge

    @property
    def timed(self) -> Pass:
        """Random blocks and normal activations, within what rounding explains."""
        return Pass(_inputs(self._matrices.random), self._judge)

    def _judge(self, output: U8) -> str | None:
        program, v = self._program, self._program.cell.variant
        form = program.conversions["activations"].form
        bound = nmse_bound(v.path or "", v.accumulator or "", v.type or "", program.chain or 1, form, staged=program.staged)
        self.verdict = self._matrices.check_random(self._matrix(output), bound)
        return self.verdict.wrong

    def _matrix(self, output: U8) -> F32:
        return output.view(np.float32).reshape(self._shape)


def _inputs(inputs: Inputs) -> dict[str, U8]:
    return {"weights": inputs.weights.reshape(-1), "activations": inputs.stored}


def weights_reference(shared: SharedReferences, weight_type: str, m: int, k: int) -> WeightsReference:
    """The weights of a type and shape, shared by every op, N and kernel."""
    return shared.keep("weights", (weight_type, m, k), lambda: WeightsReference(weight_type, m, k, SEED))


def product_reference(program: Program, shared: SharedReferences) -> ProductReference:
    """The reference of a GEMM or GEMV."""
    v, m, n, k = program.cell.variant, *(program.cell.axis(name) for name in ("m", "n", "k"))
    conversion = program.conversions["activations"]
    kind, accumulator = v.type or "", v.accumulator or ""
    weights = weights_reference(shared, kind, m, k)

    def make() -> MatrixReference:
        return MatrixReference(kind, m, n, k, SEED, weights, accumulator, conversion.form, conversion.rows)

    matrices = shared.keep("product", (kind, m, n, k, accumulator, conversion), make)
    return ProductReference(program, matrices)
