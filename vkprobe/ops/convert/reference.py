"""The reference of converted activations: f16, bf16 or q8_1 from f32."""

from __future__ import annotations

from typing import Any

import numpy as np

from vkprobe.formats import F32, U8
from vkprobe.formats.activations import q8_1_blocks
from vkprobe.formats.floats import bf16
from vkprobe.ops.matrix_reference import SMALLEST_NORMAL_F16
from vkprobe.ops.reference import SEED, Pass, Reference, SharedReferences, Verdict
from vkprobe.program import Program
from vkprobe.weights import Q8_1_ELEMENTS, Q8_1_GROUP_BYTES


class _Convert:
    """Checks every byte but where a driver may round either way."""

    def __init__(self, program: Program) -> None:
        n, k = program.cell.axis("n"), program.cell.axis("k")
        self._form = program.cell.variant.type
        controls = program.first.float_controls if program.first else ()
        self._rounds_to_even, self._keeps_subnormals = "RoundingModeRTE 16" in controls, "DenormPreserve 16" in controls
        rng = np.random.default_rng([SEED, 5])
        self._random = rng.standard_normal((n, k), dtype=np.float32)
        hard = self._random * np.exp2(rng.integers(-12, 12, (n, k))).astype(np.float32)
        hard[rng.random(hard.shape) < 0.1] = 0
        hard.reshape(-1)[: min(32, hard.size)] = 0  # a block of zeros
        self._hard = hard.astype(np.float32)
        self.verdict: Verdict

    @property
    def exact(self) -> list[Pass]:
        """Zeros, and values of all magnitudes."""
        return [Pass(_source(self._hard), lambda out: self._check(self._hard, out).wrong)]

    @property
    def timed(self) -> Pass:
        """Normal values."""
        return Pass(_source(self._random), self._judge)

    def _judge(self, output: U8) -> str | None:
        self.verdict = self._check(self._random, output)
        return self.verdict.wrong

    def _check(self, values: F32, output: U8) -> Verdict:
        if self._form == "q8_1":
            return _q8_1_verdict(values, output)
        if self._form == "bf16":
            got, wanted = output.view(np.uint16), bf16(values).reshape(-1)
            as_float = [(bits.astype(np.uint32) << 16).view(np.float32) for bits in (got, wanted)]
            return _equal(got, wanted, as_float[0], as_float[1], steps=0)
        wanted_f16 = values.astype(np.float16).reshape(-1)
        steps = 0 if self._rounds_to_even else 1
        got_f16 = output.view(np.float16)
        if not self._keeps_subnormals:  # a driver may flush them: a zero is right too
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
"""Normalised mean square error against ggml's blocks: a few codes are off by one where x / d lies half-way."""


def _q8_1_verdict(values: F32, output: U8) -> Verdict:
    """Against ggml's rule: scales to the last place of f16, codes equal but where x / d is half-way within f32's rounding."""
    d, _, q = q8_1_blocks(values.reshape(-1, Q8_1_ELEMENTS))
    got = output.reshape(-1, Q8_1_GROUP_BYTES)
    scales = np.ascontiguousarray(got[:, :16]).view(np.float16).reshape(-1, 2)
    codes = np.ascontiguousarray(got[:, 16:]).view(np.int8).reshape(-1, Q8_1_ELEMENTS)
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


def _source(values: F32) -> dict[str, U8]:
    return {"source": values.view(np.uint8).reshape(-1)}


def reference(program: Program, shared: SharedReferences) -> Reference:
    """The reference of one program."""
    return _Convert(program)
