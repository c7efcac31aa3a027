"""The reference of copies: every byte, or the sums of what was read."""

from __future__ import annotations

import numpy as np

from vkprobe.formats import U8
from vkprobe.ops.reference import SEED, OnePass, SharedReferences, Verdict
from vkprobe.program import Program

_PERIOD = 255 << 16
"""Bytes after which copied data repeat: whole workgroups' parts, and no power of two, at which errors are likely."""


def _data(size: int) -> U8:
    data: U8 = np.random.default_rng([SEED, 6]).integers(0, 256, min(size, _PERIOD), dtype=np.uint8)
    return data


class _Copy(OnePass):
    """Bytes must come out as they went in."""

    def check(self, output: U8) -> Verdict:
        """Compare every byte."""
        differ, first = 0, 0
        for start in range(0, output.size, self.source.size):
            part = output[start : start + self.source.size]
            off = part != self.source[: part.size]
            if not differ and off.any():
                first = start + int(np.argmax(off))
            differ += int(np.count_nonzero(off))
        wrong = f"{differ} of {output.size} B differ, the first at {first}" if differ else None
        return Verdict(method="every byte", nmse=0.0, max_abs=0.0, bound=0.0, wrong=wrong)


class _Read(OnePass):
    """All bytes must have been read: the sum of each workgroup's words, modulo 2^32."""

    def __init__(self, source: U8, words: int, groups: int) -> None:
        super().__init__(source)
        sums = source.view(np.uint32).reshape(-1, words // groups).sum(axis=1, dtype=np.uint32)
        self._sums = np.resize(sums, groups)

    def check(self, output: U8) -> Verdict:
        """Compare every sum."""
        off = output.view(np.uint32) != self._sums
        differ = int(np.count_nonzero(off))
        wrong = f"{differ} of {off.size} sums differ, the first of workgroup {int(np.argmax(off))}" if differ else None
        return Verdict(method="the sum of each workgroup's words", nmse=0.0, max_abs=0.0, bound=0.0, wrong=wrong)


def reference(program: Program, shared: SharedReferences) -> OnePass:
    """The reference of one program."""
    size = program.cell.axis("bytes")
    if program.cell.variant.mode == "read" and program.first is not None:
        return _Read(_data(size), size // 4, program.first.groups[0])
    return _Copy(_data(size))
