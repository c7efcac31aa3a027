"""The reference of peaks: numbers whose sums are exact, so that every result can be compared with numpy's.

Vectors: x += -y, then y += x, again and again: a rotation that comes back after six rounds, of numbers as long as the type holds
exactly. Packed integers wrap, so that theirs are any. Matrices: A * B and A' * B are added in turn. A' = -A leaves nothing of
them; where the sums have room A' differs from -A by a one in each row, so that they count the steps.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vkprobe.formats import U8
from vkprobe.formats.components import COMPONENTS, encode
from vkprobe.ops.peak.shapes import PAIRS, WIDTHS, WORDS, Matrices, rounds
from vkprobe.ops.reference import OnePass, SharedReferences, Verdict
from vkprobe.program import Program

_SEED = 20261123
_EXACT = {"scalar-f32": (1 << 22) - 1, "scalar-f16": (1 << 10) - 1}
"""Magnitudes of which sums of two are exact."""
_MOST = {"f16": 127, "bf16": 127, "e4m3": 8, "e5m2": 7, "s8": 126, "u8": 127}
"""Magnitudes of matrix elements; s8 has one above, which A' may need."""
_SUMS = {"f16": 2048, "bf16": 256, "f32": 1 << 22, "s32": 1 << 30, "u32": 1 << 30}
"""Magnitudes up to which accumulators hold every integer, with room to spare."""
_FIRST = 1024  # of the sums to begin with
_COUNTING = frozenset({"f32", "s32", "u32"})
_FLOAT8 = frozenset({"e4m3", "e5m2"})
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]


class _Numbers(NamedTuple):
    """The invocations of a workgroup, and how often each adds to all its numbers."""

    path: str
    local: int
    rounds: int


class VectorPeak(OnePass):
    """Numbers of one workgroup (all have the same) and what each invocation makes of them: a digest of its numbers."""

    method = "a digest of every invocation's numbers, bit for bit"

    def __init__(self, path: str, groups: int, local: int, multiply_adds: int) -> None:
        self._groups, self._local = groups, local
        rng = np.random.default_rng([_SEED, local])
        multipliers, start, end = _MAKERS[path](rng, _Numbers(path, local, rounds(multiply_adds, path)))
        numbers = np.empty((local, WORDS), np.uint32)
        numbers[:, :2] = multipliers
        numbers[:, 2:] = start.reshape(local, 2 * PAIRS)
        super().__init__(numbers.view(np.uint8).reshape(-1))
        self._digests = np.zeros(local, np.uint32)
        for word in end.reshape(local, 2 * PAIRS).T:
            self._digests = self._digests * np.uint32(31) + word

    def check(self, output: U8) -> Verdict:
        """Every digest of every workgroup."""
        got = output.view(np.uint32).reshape(self._groups, self._local)
        off = got != self._digests
        wrong = None
        if off.any():
            group, invocation = (int(i[0]) for i in np.nonzero(off))
            wrong = f"{int(np.count_nonzero(off))} of {off.size} invocations, the first {invocation} of workgroup {group}, have wrong sums"
        error = math.nan if wrong else 0.0
        return Verdict(method=self.method, nmse=error, max_abs=error, bound=0.0, wrong=wrong)


def _rotation(rng: np.random.Generator, of: _Numbers) -> tuple[U32, U32, U32]:
    """f32, or two f16 numbers a word: multipliers, and pairs before and after."""
    packed = 2 if of.path == "scalar-f16" else 1
    kind, storage = (np.float16, np.uint16) if packed == 2 else (np.float32, np.uint32)
    most = _EXACT[of.path]
    x = rng.integers(1, most + 1, (of.local, PAIRS, packed)) * rng.choice([-1, 1], (of.local, PAIRS, packed))
    y = rng.integers(1, most, x.shape) * rng.choice([-1, 1], x.shape)
    y += x == y  # no number is ever zero, which has two codes

    def words(pairs: I64) -> U32:
        bits: U32 = np.ascontiguousarray(pairs.astype(kind)).view(storage).view(np.uint32)[..., 0]
        return bits

    start = words(np.stack([x, y], axis=2))
    for _ in range(of.rounds):
        x = x - y
        y = y + x
    return words(np.array([[-1] * packed, [1] * packed])), start, words(np.stack([x, y], axis=2))


def _mixed(rng: np.random.Generator, of: _Numbers) -> tuple[U32, U32, U32]:
    """f32 sums of products of f16 pairs: y * down and y * up are added in turn, which nearly cancel."""
    x = rng.integers(-(1 << 20), 1 << 20, (of.local, PAIRS))
    y = rng.integers(-15, 16, (of.local, PAIRS, 2))
    down = rng.integers(-31, 32, 2)
    up = np.array([1, 0]) - down

    def halves(values: I64) -> U32:
        bits: U32 = values.astype(np.float16).view(np.uint16).view(np.uint32)[..., 0]
        return bits

    def pairs(sums: I64) -> U32:
        return np.stack([sums.astype(np.float32).view(np.uint32), halves(y)], axis=2)

    return halves(np.stack([down, up])), pairs(x), pairs(x + of.rounds * y[..., 0])


def _packed(rng: np.random.Generator, of: _Numbers) -> tuple[U32, U32, U32]:
    """Words that are sums and, as four signed bytes, operands."""
    start = rng.integers(0, 1 << 32, (of.local, PAIRS, 2), dtype=np.uint32)
    multipliers = rng.integers(0, 1 << 32, 2, dtype=np.uint32)
    down, up = (m.reshape(1).view(np.int8).astype(np.int32) for m in multipliers)
    x, y = (np.ascontiguousarray(start[..., i]).view(np.int32) for i in (0, 1))
    for _ in range(of.rounds):
        x = x + y.view(np.int8).reshape(*y.shape, 4) @ down
        y = y + x.view(np.int8).reshape(*x.shape, 4) @ up
    return multipliers, start, np.stack([x, y], axis=2).view(np.uint32)


_MAKERS: dict[str, Any] = {"scalar-f32": _rotation, "scalar-f16": _rotation, "dot2": _mixed, "intdot": _packed}


class MatrixPeak(OnePass):
    """Matrices of one workgroup (all have the same) and the sums that it must end with."""

    method = "every element of every matrix, exact integers"

    def __init__(self, shape: Matrices, b_type: str, groups: int, multiply_adds: int) -> None:
        self._groups, self._component = groups, COMPONENTS[shape.c]
        pairs = shape.pairs(multiply_adds)
        counting = shape.c in _COUNTING and not {shape.a, b_type} & _FLOAT8
        first = min(_SUMS[shape.c] // 32, _FIRST)
        most_a, most_b = _magnitudes(shape.a, b_type, shape.c, shape.k, pairs, counting)
        rng = np.random.default_rng([_SEED, shape.m, shape.n, shape.k])
        a = _whole(rng, shape.a, most_a, (shape.tiles, shape.side, shape.m, shape.k))
        b = _whole(rng, b_type, most_b, (shape.tiles, shape.side, shape.k, shape.n))
        c = _whole(rng, shape.c, first, (shape.tiles, shape.side, shape.side, shape.m, shape.n))
        if shape.a.startswith("u"):
            other = _whole(rng, shape.a, most_a, a.shape)
        else:
            other = -a
            if counting:
                rows = np.arange(shape.m)
                other[..., rows, rng.integers(0, shape.k, shape.m)] += 1
        added = (pairs * (a + other) + a)[:, :, None] @ b[:, None]
        wanted = c + added
        operands = np.concatenate([a, other], axis=1)
        parts = ((shape.a, operands), (b_type, b), (shape.c, c))
        super().__init__(np.concatenate([np.ascontiguousarray(encode(kind, part)).view(np.uint8).reshape(-1) for kind, part in parts]))
        self._wanted = wanted.reshape(-1)
        self._stored = encode(shape.c, _wrapped(self._wanted, shape.c))

    def check(self, output: U8) -> Verdict:
        """Every element of every workgroup's matrices."""
        got = output.view(self._component.storage).reshape(self._groups, -1)
        off = got != self._stored
        if self._component.name == "bf16":
            off &= ((got | self._stored) & 0x7FFF) != 0  # both zero
        wrong, error = None, 0.0
        if off.any():
            group, at = (int(i[0]) for i in np.nonzero(off))
            wrong = (
                f"{int(np.count_nonzero(off))} of {off.size} sums differ, the first at {at} of workgroup {group}: "
                f"the bits {got[group, at].tobytes()[::-1].hex()} instead of {self._wanted[at]}"
            )
            error = math.nan
        return Verdict(method=self.method, nmse=error, max_abs=error, bound=0.0, wrong=wrong)


def _magnitudes(a: str, b: str, c: str, k: int, pairs: int, counting: bool) -> tuple[int, int]:
    """The largest magnitudes of A and B with which no sum is beyond what the accumulator holds exactly."""
    room = _SUMS[c] - _SUMS[c] // 32
    for most in range(max(_MOST[a], _MOST[b]), 1, -1):
        most_a, most_b = min(most, _MOST[a]), min(most, _MOST[b])
        once = k * most_a * most_b
        grown = once * (2 * pairs + 1) if a.startswith("u") else once + pairs * most_b * counting
        if grown <= room:
            return most_a, most_b
    return 1, 1


def _whole(rng: np.random.Generator, component: str, most: int, shape: tuple[int, ...]) -> I64:
    """Integers of magnitude up to `most` that the type has."""
    least = 0 if component.startswith("u") else -most
    integers: I64 = rng.integers(least, most + 1, shape)
    return integers


def _wrapped(values: I64, component: str) -> NDArray[Any]:
    """Sums as 32-bit integers have them."""
    if component not in ("s32", "u32"):
        return values
    return (values & 0xFFFFFFFF).astype(np.uint32).view(np.int32 if component == "s32" else np.uint32)


def reference(program: Program, shared: SharedReferences) -> OnePass:
    """The reference of one program."""
    cell, v = program.cell, program.cell.variant
    groups, local, multiply_adds = (cell.axis(name) for name in ("workgroups", "invocations", "multiply_adds"))
    if v.path in WIDTHS:
        return VectorPeak(v.path, groups, local, multiply_adds)
    assert program.first is not None
    a, _, b = (v.type or "").partition(",")
    side = 1 if v.path == "coopmat2" else 2
    constants = program.first.constants
    shape = Matrices(
        a=a, c=v.accumulator or "", m=constants["m"], n=constants["n"], k=constants["k"], tiles=constants["tiles"], side=side, local=local
    )
    return MatrixPeak(shape, b or a, groups, multiply_adds)
