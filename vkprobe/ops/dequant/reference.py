"""The reference of blocks to f16: every element, rounded to nearest even if the device can be asked to."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vkprobe.formats import FORMATS, U8
from vkprobe.ops.matrix_reference import SMALLEST_NORMAL_F16, UNIT_F16, WeightsReference, ordered, row_slices, weights_reference
from vkprobe.ops.reference import SEED, OnePass, SharedReferences, Verdict
from vkprobe.program import Program


class DequantReference:
    """Expected elements of f16[m, k]."""

    def __init__(self, weight_type: str, m: int, k: int, seed: int, weights: WeightsReference | None = None) -> None:
        self.type, self.m, self.k = weight_type, m, k
        reference = weights or WeightsReference(weight_type, m, k, seed)
        self.weights, self.distinct = reference.random, reference.distinct

    def check(self, output: NDArray[np.float16], rounds_to_even: bool, keeps_subnormals: bool = True) -> Verdict:
        """Judge `output`: f16[m, k]. Without the rounding mode the neighbour on either side is right too, without the other one zero."""
        bound = 0.0 if rounds_to_even else (2 * UNIT_F16) ** 2
        unwritten = int(np.count_nonzero(output.view(np.uint16) == 0xFFFF))
        if unwritten:
            wrong = f"{unwritten} of {output.size} output elements were never written"
            return Verdict(method="every element", nmse=math.nan, max_abs=math.nan, bound=bound, wrong=wrong)
        worst = square = reference = 0.0
        different = 0
        first = ""
        for rows in row_slices(self.m, self.k):
            wanted = FORMATS[self.type].decode(self.weights[np.arange(rows.start, rows.stop) % self.distinct])
            rounded = wanted.astype(np.float16)
            got = output[rows]
            steps = np.abs(ordered(got) - ordered(rounded))
            bad = (got != rounded) & (steps > (0 if rounds_to_even else 1))
            if not keeps_subnormals:
                bad &= (got != 0) | (np.abs(wanted) >= SMALLEST_NORMAL_F16)
            if bad.any() and not first:
                m, k = (int(i[0]) for i in np.nonzero(bad))
                first = f"the first at m={m + rows.start} k={k}: {got[m, k]:g} instead of {rounded[m, k]:g}"
            different += int(np.count_nonzero(bad))
            error = got.astype(np.float64) - rounded.astype(np.float64)
            worst = max(worst, float(np.max(np.abs(error))))
            square += float(np.sum(error**2))
            reference += float(np.sum(rounded.astype(np.float64) ** 2))
        differ = f"{different} of {output.size} elements differ, {first}" if different else None
        method = "every element, " + ("bit for bit" if rounds_to_even else "to the last place")
        return Verdict(method=method, nmse=square / reference, max_abs=worst, bound=bound, wrong=differ)


class _Dequant(OnePass):
    def __init__(self, program: Program, weights: WeightsReference) -> None:
        self._program = program
        cell = program.cell
        self._expected = DequantReference(cell.variant.type or "", cell.axis("m"), cell.axis("k"), SEED, weights)
        super().__init__(self._expected.weights.reshape(-1))

    def check(self, output: U8) -> Verdict:
        """Judge every element."""
        cell = self._program.cell
        matrix = output.view(np.float16).reshape(cell.axis("m"), cell.axis("k"))
        controls = self._program.first.float_controls if self._program.first else ()
        return self._expected.check(matrix, "RoundingModeRTE 16" in controls, "DenormPreserve 16" in controls)


def reference(program: Program, shared: SharedReferences) -> OnePass:
    """The reference of one program."""
    return _Dequant(program, weights_reference(shared, program.cell.variant.type or "", program.cell.axis("m"), program.cell.axis("k")))
