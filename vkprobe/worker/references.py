"""What each op is verified with: its inputs, pass by pass, and the judgement of what comes out. A new op is one class and a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from vkprobe.jobs import Job
from vkprobe.peak import WIDTHS
from vkprobe.worker.activations import q8_1_blocks
from vkprobe.worker.formats import F32, U8
from vkprobe.worker.formats.floats import bf16
from vkprobe.worker.peaks import MatrixPeak, VectorPeak
from vkprobe.worker.verify import SMALLEST_NORMAL_F16, DequantReference, MatrixReference, Verdict, WeightsReference, nmse_bound

SEED = 20261121
T = TypeVar("T")


class Pass(NamedTuple):
    """One set of inputs and the judgement of its output.

    Attributes:
        source: u8[bytes]; where the buffer is longer, it holds them again and again.
        activations: u8[bytes], None where the op has none.
        judge: of the output's bytes: what is wrong, None where nothing is.
    """

    source: U8
    activations: U8 | None
    judge: Callable[[U8], str | None]


class Reference(Protocol):
    """An op's reference."""

    @property
    def exact(self) -> list[Pass]:
        """Passes before the timed one."""

    @property
    def timed(self) -> Pass:
        """The pass whose inputs are timed; its judgement leaves the verdict."""

    @property
    def verdict(self) -> Verdict:
        """What the timed pass's last judgement found."""


class _Product:
    """Of a matrix product."""

    def __init__(self, job: Job, made: MatrixReference) -> None:
        self._job, self._made = job, made
        self.verdict: Verdict

    @property
    def exact(self) -> list[Pass]:
        return [Pass(i.weights.reshape(-1), i.stored, self._exactly(number)) for number, i in enumerate(self._made.exact_inputs)]

    def _exactly(self, number: int) -> Callable[[U8], str | None]:
        def judge(output: U8) -> str | None:
            return self._made.check_exact(self._matrix(output), number)

        return judge

    @property
    def timed(self) -> Pass:
        return Pass(self._made.random.weights.reshape(-1), self._made.random.stored, self._judge)

    def _judge(self, output: U8) -> str | None:
        job = self._job
        bound = nmse_bound(job.path, job.accumulator, job.type, job.part_k or job.k, job.activations, staged=job.op == "gemm")
        self.verdict = self._made.check_random(self._matrix(output), bound)
        return self.verdict.wrong

    def _matrix(self, output: U8) -> F32:
        return output.view(np.float32).reshape(self._job.n, self._job.m)


class _OnePass:
    """Of an op whose timed pass is its only one; a subclass gives its source and its verdict."""

    def __init__(self, source: U8) -> None:
        self._source = source
        self.exact: list[Pass] = []
        self.verdict: Verdict

    @property
    def timed(self) -> Pass:
        return Pass(self._source, None, self._judge)

    def _judge(self, output: U8) -> str | None:
        self.verdict = self._verdict(output)
        return self.verdict.wrong

    def _verdict(self, output: U8) -> Verdict:
        raise NotImplementedError


class _Dequant(_OnePass):
    """Of blocks to f16."""

    def __init__(self, job: Job, weights: WeightsReference) -> None:
        self._job, self._made = job, DequantReference(job.type, job.m, job.k, SEED, weights)
        super().__init__(self._made.weights.reshape(-1))

    def _verdict(self, output: U8) -> Verdict:
        matrix = output.view(np.float16).reshape(self._job.m, self._job.k)
        return self._made.check(matrix, self._job.rounding_f16, self._job.denormals_f16)


class _Convert:
    """Of f32 activations to f16, bf16 or q8_1: every byte but where a driver may round either way."""

    def __init__(self, job: Job) -> None:
        self._job = job
        rng = np.random.default_rng([SEED, 5])
        self._random = rng.standard_normal((job.n, job.k), dtype=np.float32)
        hard = self._random * np.exp2(rng.integers(-12, 12, (job.n, job.k))).astype(np.float32)
        hard[rng.random(hard.shape) < 0.1] = 0
        hard.reshape(-1)[: min(32, hard.size)] = 0  # a block of zeros
        self._hard = hard.astype(np.float32)
        self.verdict: Verdict

    @property
    def exact(self) -> list[Pass]:
        return [Pass(self._hard.view(np.uint8).reshape(-1), None, lambda out: self._check(self._hard, out).wrong)]

    @property
    def timed(self) -> Pass:
        return Pass(self._random.view(np.uint8).reshape(-1), None, self._judge)

    def _judge(self, output: U8) -> str | None:
        self.verdict = self._check(self._random, output)
        return self.verdict.wrong

    def _check(self, values: F32, output: U8) -> Verdict:
        if self._job.type == "q8_1":
            return _q8_1_verdict(values, output)
        if self._job.type == "bf16":
            got, wanted = output.view(np.uint16), bf16(values).reshape(-1)
            as_float = [(bits.astype(np.uint32) << 16).view(np.float32) for bits in (got, wanted)]
            return _equal(got, wanted, as_float[0], as_float[1], steps=0)
        wanted_f16 = values.astype(np.float16).reshape(-1)
        steps = 0 if self._job.rounding_f16 else 1
        got_f16 = output.view(np.float16)
        if not self._job.denormals_f16:  # a driver may flush them: a zero is right too
            wanted_f16 = np.where((got_f16 == 0) & (np.abs(wanted_f16) < SMALLEST_NORMAL_F16), got_f16, wanted_f16)
        return _equal(output.view(np.uint16), wanted_f16.view(np.uint16), got_f16.astype(np.float32), wanted_f16.astype(np.float32), steps)


def _equal(got: Any, wanted: Any, got_values: F32, wanted_values: F32, steps: int) -> Verdict:
    """Bit for bit, or to the last place."""
    off = np.abs(got.astype(np.int64) - wanted.astype(np.int64)) > steps
    zeros = (got_values == 0) & (wanted_values == 0)
    bad = int(np.count_nonzero(off & ~zeros))
    error = got_values.astype(np.float64) - wanted_values
    square = float(np.sum(wanted_values.astype(np.float64) ** 2))
    at = int(np.argmax(off & ~zeros))
    wrong = f"{bad} of {got.size} elements differ, the first at {at}: {got_values[at]:g} instead of {wanted_values[at]:g}" if bad else None
    return Verdict(
        method="every element, " + ("to the last place" if steps else "bit for bit"),
        nmse=float(np.sum(error**2)) / max(square, 1e-300),
        max_abs=float(np.max(np.abs(error))),
        bound=(steps * 2.0**-10) ** 2,
        wrong=wrong,
    )


_Q8_1_BOUND = 2.0**-16
"""Of the normalised mean square error against ggml's blocks: a few codes off by one where x / d lies half-way."""


def _q8_1_verdict(values: F32, output: U8) -> Verdict:
    """Against ggml's rule: scales to the last place of f16, codes equal but where x / d is half-way within f32's rounding."""
    d, _, q = q8_1_blocks(values.reshape(-1, 32))
    got = output.reshape(-1, 144)
    scales = np.ascontiguousarray(got[:, :16]).view(np.float16).reshape(-1, 2)
    codes = np.ascontiguousarray(got[:, 16:]).view(np.int8).reshape(-1, 32)
    blocks = d.size
    wanted_d, got_d = d.astype(np.float64), scales[:blocks, 0].astype(np.float64)
    wanted_values = wanted_d[:, None] * q
    error = got_d[:, None] * codes[:blocks] - wanted_values
    nmse = float(np.sum(error**2)) / max(float(np.sum(wanted_values**2)), 1e-300)
    exact_d = np.max(np.abs(values.reshape(-1, 32)).astype(np.float64), axis=1) / 127
    inverse = np.divide(1.0, exact_d, out=np.zeros_like(exact_d), where=exact_d != 0)
    position = np.abs(values.reshape(-1, 32).astype(np.float64) * inverse[:, None])
    half_way = np.abs(position - np.floor(position) - 0.5) < 1e-4
    sums = codes[:blocks].sum(axis=1, dtype=np.int64) * exact_d
    faults = {
        "scales": np.abs(got_d - wanted_d) > np.maximum(wanted_d * 2.0**-10, 2.0**-24),
        "sums": np.abs(scales[:blocks, 1].astype(np.float64) - sums) > np.maximum(np.abs(sums) * 2.0**-10, 2.0**-24) + exact_d * 1e-3,
        "codes": np.any((codes[:blocks] != q) & ~(half_way & (np.abs(codes[:blocks].astype(int) - q) <= 1)), axis=1),
    }
    wrong = None
    for what, bad in faults.items():
        if wrong is None and bad.any():
            wrong = f"{int(np.count_nonzero(bad))} of {blocks} blocks have wrong {what}, the first is {int(np.argmax(bad))}"
    if wrong is None and not (np.all(scales[blocks:] == 0) and np.all(codes[blocks:] == 0)):
        wrong = "the blocks that fill the last group of four up are not zero"
    return Verdict(
        method="every block against ggml's q8_1; codes within one where x / d is half-way",
        nmse=nmse,
        max_abs=float(np.max(np.abs(error))),
        bound=_Q8_1_BOUND,
        wrong=wrong or (f"nmse {nmse:.3g} is beyond {_Q8_1_BOUND:.3g}" if nmse > _Q8_1_BOUND else None),
    )


_PERIOD = 255 << 16
"""Bytes after which copied data begin again: whole workgroups' parts, and no power of two, at which errors are likely."""


def _copied(job: Job) -> U8:
    made: U8 = np.random.default_rng([SEED, 6]).integers(0, 256, min(4 * job.k, _PERIOD), dtype=np.uint8)
    return made


class _Copy(_OnePass):
    """Of bytes that are to come out as they went in."""

    def __init__(self, job: Job) -> None:
        super().__init__(_copied(job))

    def _verdict(self, output: U8) -> Verdict:
        differ, first = 0, 0
        for start in range(0, output.size, self._source.size):
            part = output[start : start + self._source.size]
            off = part != self._source[: part.size]
            if not differ and off.any():
                first = start + int(np.argmax(off))
            differ += int(np.count_nonzero(off))
        wrong = f"{differ} of {output.size} B differ, the first at {first}" if differ else None
        return Verdict(method="every byte", nmse=0.0, max_abs=0.0, bound=0.0, wrong=wrong)


class _Read(_OnePass):
    """Of all bytes read: the sum of each workgroup's words, modulo 2^32."""

    def __init__(self, job: Job) -> None:
        super().__init__(_copied(job))
        groups = job.groups[0]
        sums = self._source.view(np.uint32).reshape(-1, job.k // groups).sum(axis=1, dtype=np.uint32)
        self._sums = np.resize(sums, groups)

    def _verdict(self, output: U8) -> Verdict:
        off = output.view(np.uint32) != self._sums
        differ = int(np.count_nonzero(off))
        wrong = f"{differ} of {off.size} sums differ, the first of workgroup {int(np.argmax(off))}" if differ else None
        return Verdict(method="the sum of each workgroup's words", nmse=0.0, max_abs=0.0, bound=0.0, wrong=wrong)


class _Peak(_OnePass):
    """Of multiply-adds from registers."""

    def __init__(self, job: Job) -> None:
        self._made = VectorPeak(job) if job.path in WIDTHS else MatrixPeak(job)
        super().__init__(self._made.source)

    def _verdict(self, output: U8) -> Verdict:
        return self._made.judge(output)


class References:
    """The references of a session's jobs; the last of each kind is kept, as cells of one workload come one after the other."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Any, Any]] = {}

    def of(self, job: Job) -> Reference:
        """What the job must give."""
        if job.op in ("gemm", "gemv"):
            key = (job.type, job.m, job.n, job.k, job.accumulator, job.activations, job.padded_n)
            weights = self._weights(job)
            made = self._keep(
                "product",
                key,
                lambda: MatrixReference(job.type, job.m, job.n, job.k, SEED, weights, job.accumulator, job.activations, job.padded_n),
            )
            return self._keep("product-op", (job,), lambda: _Product(job, made))
        if job.op == "dequant":
            return self._keep("dequant-op", (job,), lambda: _Dequant(job, self._weights(job)))
        return self._keep("other-op", (job,), lambda: _OTHERS[job.op](job))

    def _weights(self, job: Job) -> WeightsReference:
        made: WeightsReference = self._keep("weights", (job.type, job.m, job.k), lambda: WeightsReference(job.type, job.m, job.k, SEED))
        return made

    def _keep(self, kind: str, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        if self._kept.get(kind, (None,))[0] != key:
            self._kept[kind] = None, None  # what was there goes before its successor comes
            self._kept[kind] = key, make()
        kept: T = self._kept[kind][1]
        return kept


_OTHERS: dict[str, Callable[[Job], Reference]] = {
    "convert": _Convert,
    "copy": lambda job: _Read(job) if job.output_bytes else _Copy(job),
    "peak": _Peak,
}
