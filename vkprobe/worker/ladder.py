"""The rungs of one cooperative-matrix tuple: compiles, runs, correct, faster; and the numeric facts found on the way.

Each rung is reported as progress when it is reached, so that a crash on the next one is named by the parent.
Correct covers row- and column-major loads from buffer and shared memory with padding strides, several steps along K,
wrapping and saturation of integers, overflow, infinities and NaN of floats. Facts that devices may differ in (accumulator
bits, subnormals) are reported, not judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from vkprobe.formats.components import COMPONENTS, F64, Bits, decode, encode
from vkprobe.ops.reference import POISON
from vkprobe.protocol import Climb, Climbed, TupleJob
from vkprobe.worker.rates import ratio
from vkprobe.worker.session import Session, current
from vkprobe.worker.vk.commands import DescriptorSets, Dispatch
from vkprobe.worker.vk.device import Buffer
from vkprobe.worker.vk.pipeline import Pipeline

Progress = Callable[[dict[str, Any]], None]
_COLUMN_A, _COLUMN_B, _COLUMN_D, _SHARED = 1, 2, 4, 8
_MODES = range(16)
_STEPS = 3
_RATE_STEPS = 64
_RATE_GROUPS = 1024
_MOST_DISPATCHES = 256
_TIMEOUT_S = 60.0
_TOLERANCE = 4.0


class _Bench:
    """A tuple's pipeline and the buffers that it runs on."""

    def __init__(self, session: Session, job: TupleJob) -> None:
        self.session, self.job = session, job
        size = np.dtype(COMPONENTS[job.a].storage).itemsize
        self.pad = 16 // size  # strides stay multiples of 16 B, as cooperative matrices ask
        values = (job.local, job.m, job.n, job.k, self.pad)
        self.pipeline: Pipeline = session.ladder_pipeline(job.kernel, list(enumerate(values)), full_subgroups=job.full_subgroups)

    def stored(self, name: str, values: F64, column: bool) -> Bits:
        """A matrix as it lies in memory: row by row or column by column, each padded."""
        bits = encode(name, values.T if column else values)
        return np.pad(bits, ((0, 0), (0, self.pad)))

    def run(self, a: F64, b: F64, c: F64, mode: int) -> F64:
        """D of A[m, k * steps] B[k * steps, n] + C[m, n], loaded as `mode` says."""
        job = self.job
        stored_c = encode(job.c, c.T if mode & _COLUMN_D else c)
        buffers = [
            self._upload(self.stored(job.a, a, bool(mode & _COLUMN_A))),
            self._upload(self.stored(job.b, b, bool(mode & _COLUMN_B))),
            self._upload(np.zeros_like(stored_c)),
            self._upload(stored_c),
        ]
        self.session.commands.fill(buffers[2], POISON)
        sets = DescriptorSets(self.session.device, self.session.layout(), [[(x, 0, x.size) for x in buffers]])
        commands = self.session.commands.record([Dispatch(self.pipeline, sets, (mode, a.shape[1] // job.k), (1, 1, 1))], 1)
        self.session.commands.submit(commands, _TIMEOUT_S)
        raw = self.session.download(buffers[2], stored_c.nbytes).view(stored_c.dtype)
        self.session.commands.free(commands)
        sets.destroy()
        for buffer in buffers:
            buffer.destroy()
        result = decode(job.c, raw.reshape(stored_c.shape))
        return result.T if mode & _COLUMN_D else result

    def _upload(self, data: Bits) -> Buffer:
        buffer = Buffer(self.session.device, -(-data.nbytes // 16) * 16, "device")
        self.session.upload(buffer, data)
        return buffer

    def ratio(self, plain: Pipeline) -> float | None:
        """Time over the plain kernel's, of many workgroups that each compute the tile over many steps."""
        job = self.job
        width = job.k * _RATE_STEPS
        item = np.dtype(COMPONENTS[job.c].storage).itemsize
        buffers = [
            self._upload(self.stored(job.a, np.ones((job.m, width)), False)),
            self._upload(self.stored(job.b, np.ones((width, job.n)), False)),
            Buffer(self.session.device, _RATE_GROUPS * job.m * job.n * item, "device"),
            self._upload(encode(job.c, np.zeros((job.m, job.n)))),
        ]
        sets = DescriptorSets(self.session.device, self.session.layout(), [[(x, 0, x.size) for x in buffers]])

        def recorded(pipeline: Pipeline, dispatches: int) -> Any:
            return self.session.commands.record([Dispatch(pipeline, sets, (0, _RATE_STEPS), (_RATE_GROUPS, 1, 1))], dispatches)

        value = ratio(self.session, self.pipeline, plain, recorded, 1, _MOST_DISPATCHES)
        sets.destroy()
        for buffer in buffers:
            buffer.destroy()
        return value


def climb(request: Climb, progress: Progress) -> Climbed:
    """Climb with one tuple; without `execute` it is compiled only."""
    bench = _Bench(current(), request.job)
    try:
        return _climb(progress, bench, request.execute)
    finally:
        bench.pipeline.destroy()


def _climb(progress: Progress, bench: _Bench, execute: bool) -> Climbed:
    progress({"rung": "compiles"})
    job, session = bench.job, bench.session
    if not execute:
        return Climbed(wrong=None)
    rng = np.random.default_rng([job.m, job.n, job.k])
    wrong = _exact(bench, rng, [0])
    progress({"rung": "runs"})
    wrong = wrong or _exact(bench, rng, list(_MODES)) or _random(bench, rng) or _edges(bench)
    facts = _facts(bench)
    if wrong:
        return Climbed(wrong=wrong, facts=facts)
    progress({"rung": "correct"})
    measured = None
    if job.scalar_kernel is not None:
        plain = _Bench(session, msgspec.structs.replace(job, kernel=job.scalar_kernel, full_subgroups=False))
        measured = bench.ratio(plain.pipeline)
        plain.pipeline.destroy()
    return Climbed(wrong=None, facts=facts, ratio=measured)


def _wrapped(name: str, values: F64, saturating: bool) -> F64:
    """Exact integer results as the type holds them: wrapped around, or clamped."""
    component = COMPONENTS[name]
    if component.least is None or component.most is None:
        return values
    if saturating:
        return np.clip(values, component.least, component.most)
    return np.mod(values - component.least, float(component.most - component.least + 1)) + component.least


def _whole(rng: np.random.Generator, name: str, shape: tuple[int, int], bound: int) -> F64:
    """Random integers that the type holds exactly: integers' whole range, floats up to `bound`."""
    component = COMPONENTS[name]
    least, most = (component.least, component.most) if component.least is not None and component.most is not None else (-bound, bound)
    return rng.integers(least, most + 1, shape).astype(np.float64)


def _float_bound(job: TupleJob, steps: int) -> int:
    """The largest integers of which no sum leaves the accumulator's exact range, at most 4 (which every float8 holds)."""
    precision = COMPONENTS[job.c].precision
    return max(1, min(4, math.isqrt(2**precision // (job.k * steps + 1)))) if precision else 4


def _exact(bench: _Bench, rng: np.random.Generator, modes: list[int]) -> str | None:
    """Integers in every layout: each element must be equal."""
    job = bench.job
    steps = 1 if job.saturating else _STEPS  # how often a chain of steps clamps is the device's to choose
    bound = _float_bound(job, steps)
    for mode in modes:
        a = _whole(rng, job.a, (job.m, job.k * steps), bound)
        b = _whole(rng, job.b, (job.k * steps, job.n), bound)
        c = _whole(rng, job.c, (job.m, job.n), bound)
        wanted = _wrapped(job.c, a @ b + c, job.saturating)
        actual = bench.run(a, b, c, mode)
        if not np.array_equal(actual, wanted):
            m, n = (int(i[0]) for i in np.nonzero(~(actual == wanted)))
            count = int(np.count_nonzero(~(actual == wanted)))
            first = f"the first at m={m} n={n}: {actual[m, n]:g} instead of {wanted[m, n]:g}"
            return f"{_mode_name(mode)}: {count} of {actual.size} elements differ, {first}"
    return None


def _mode_name(mode: int) -> str:
    layout = [
        f"{'column' if mode & bit else 'row'}-major {what}" for bit, what in ((_COLUMN_A, "A"), (_COLUMN_B, "B"), (_COLUMN_D, "C and D"))
    ]
    return f"{', '.join(layout)}, A and B from {'shared memory' if mode & _SHARED else 'buffers'}"


def _random(bench: _Bench, rng: np.random.Generator) -> str | None:
    """Normal values of the operands' own precision, over many steps, within what rounding explains."""
    job = bench.job
    if not COMPONENTS[job.c].is_float:
        return None
    steps, count = 8, 8 * job.k
    a, b = (_rounded(name, rng.standard_normal(shape)) for name, shape in ((job.a, (job.m, count)), (job.b, (count, job.n))))
    c = np.zeros((job.m, job.n))
    wanted = a @ b
    unit = 2.0 ** -COMPONENTS[job.c].precision
    bound = _TOLERANCE * (steps * job.k / 2 + 1) * unit**2 / 3
    nmse = float(np.sum((bench.run(a, b, c, 0) - wanted) ** 2) / np.sum(wanted**2))
    return (
        None
        if nmse <= bound
        else f"random values: nmse {nmse:.3g} is beyond the bound {bound:.3g} for {job.c} accumulation over {count} products"
    )


def _rounded(name: str, values: F64) -> F64:
    """Values rounded to what the type holds, far from its limits."""
    precision = COMPONENTS[name].precision
    mantissa, exponent = np.frexp(values)
    rounded = np.ldexp(np.round(np.ldexp(mantissa, precision)), exponent - precision)
    return np.where(np.abs(rounded) < 2.0**-4, 0.0, rounded)  # float8's smallest normal numbers


def _single(bench: _Bench, products: list[tuple[float, float]], c: float = 0.0) -> float:
    """D[0, 0] of a few products plus c, all else zero."""
    job = bench.job
    a, b, start = np.zeros((job.m, job.k)), np.zeros((job.k, job.n)), np.zeros((job.m, job.n))
    for i, (x, y) in enumerate(products):
        a[0, i], b[i, 0] = x, y
    start[0, 0] = c
    return float(bench.run(a, b, start, 0)[0, 0])


def _edges(bench: _Bench) -> str | None:
    """Infinities and NaN must come through, and integers clamp at both ends where they saturate."""
    job = bench.job
    component = COMPONENTS[job.c]
    if not component.is_float:
        return _clamping(bench) if job.saturating else None
    has_infinity = job.a != "e4m3" and job.b != "e4m3"
    cases: list[tuple[str, list[tuple[float, float]], float, float]] = [("NaN * 1", [(math.nan, 1.0)], 0.0, math.nan)]
    if has_infinity:
        cases += [
            ("infinity * 1", [(math.inf, 1.0)], 0.0, math.inf),
            ("infinity * -1", [(math.inf, -1.0)], 0.0, -math.inf),
            ("infinity - infinity", [(math.inf, 1.0), (math.inf, -1.0)], 0.0, math.nan),
        ]
    cases.append(("infinity in C", [(1.0, 1.0)], math.inf, math.inf))
    for name, products, c, wanted in cases:
        actual = _single(bench, products, c)
        if not (actual == wanted or (math.isnan(actual) and math.isnan(wanted))):
            return f"{name} gave {actual:g} instead of {wanted:g}"
    return None


def _clamping(bench: _Bench) -> str | None:
    job = bench.job
    least, most = COMPONENTS[job.c].least, COMPONENTS[job.c].most
    assert least is not None
    assert most is not None
    actual = _single(bench, [(1.0, 2.0)], float(most - 1))
    if actual != most:
        return f"saturation: {most - 1} + 2 gave {actual:.0f} instead of {most}"
    if "s8" in (job.a, job.b) and least < 0:
        x, y = (-1.0, 2.0) if job.a == "s8" else (2.0, -1.0)
        actual = _single(bench, [(x, y)], float(least + 1))
        if actual != least:
            return f"saturation: {least + 1} - 2 gave {actual:.0f} instead of {least}"
    return None


_SUBNORMAL = {"f16": 2.0**-24, "bf16": 2.0**-133, "e4m3": 2.0**-9, "e5m2": 2.0**-16}
_LIFT = {"f16": 2.0**12, "bf16": 2.0**100, "e4m3": 2.0**6, "e5m2": 2.0**12}


def _facts(bench: _Bench) -> dict[str, Any]:
    """Facts in which devices may differ: significand bits of the accumulator, and whether subnormals are kept."""
    job = bench.job
    component = COMPONENTS[job.c]
    if not component.is_float:
        return {}
    facts: dict[str, Any] = {}
    kept = [p for p in range(1, component.precision) if _single(bench, [(1.0, 1.0)], 2.0**p) == 2.0**p + 1]
    facts["accumulator_bits"] = max(kept, default=0) + 1
    if job.a == job.b and job.a in _SUBNORMAL:
        tiny, lift = _SUBNORMAL[job.a], _LIFT[job.a]
        facts["subnormal_operands"] = "kept" if _single(bench, [(tiny, lift)]) == tiny * lift else "flushed"
    if job.c == "f16" and job.a == "f16":
        facts["subnormal_results"] = "kept" if _single(bench, [(2.0**-12, 2.0**-10)]) == 2.0**-22 else "flushed"
    return facts
