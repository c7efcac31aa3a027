"""The results that peaks and copies must give back, computed another way, within what the types hold exactly."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.pure.recorded_devices import recorded
from vkprobe.cell import cell
from vkprobe.formats.components import decode
from vkprobe.ops import find
from vkprobe.ops.peak.reference import MatrixPeak, VectorPeak
from vkprobe.ops.peak.shapes import PAIRS, WIDTHS, WORDS, Matrices, looped
from vkprobe.ops.plan import plans
from vkprobe.ops.reference import OnePass, SharedReferences

LOCAL = 8


def vector_peak(path: str, turns: int = 2) -> VectorPeak:
    """A small peak of a vector kernel: three workgroups."""
    return VectorPeak(path, 3, LOCAL, looped(WIDTHS[path]) * turns)


class Products(NamedTuple):
    """A small peak of a matrix kernel: three workgroups of two tiles, two by two matrices each."""

    a: str
    b: str
    c: str
    pairs: int
    k: int = 16

    def peak(self) -> MatrixPeak:
        """Its inputs and the check of its sums."""
        shape = Matrices(a=self.a, c=self.c, m=16, n=8, k=self.k, tiles=2, side=2, local=32)
        return MatrixPeak(shape, self.b, 3, shape.multiply_adds(self.pairs))


def digest(words: Any) -> Any:
    """Digest an invocation's words as the kernel does: u32[invocations, words]."""
    hashes = np.zeros(words.shape[0], np.uint32)
    for i in range(words.shape[1]):
        hashes = hashes * np.uint32(31) + words[:, i]
    return hashes


def stepped(path: str, words: Any, turns: int) -> Any:
    """The kernel's loop in the type's own arithmetic, rounding after every operation: u32[invocations, 2 * PAIRS]."""
    kind = {"scalar-f32": np.float32, "scalar-f16": np.float16, "intdot": np.int32, "dot2": np.float32}[path]
    if path == "dot2":
        multipliers = np.ascontiguousarray(words[:, :2]).view(np.float16).reshape(LOCAL, 2, 2).astype(np.float32)
        x = np.ascontiguousarray(words[:, 2::2]).view(np.float32).copy()
        y = np.ascontiguousarray(words[:, 3::2]).view(np.float16).reshape(LOCAL, PAIRS, 2).astype(np.float32)
        for step in range(turns * 64):
            both = y * multipliers[:, None, step % 2]
            x = (x + both[..., 0]) + both[..., 1]
        return np.stack([x.view(np.uint32), words[:, 3::2]], axis=2).reshape(LOCAL, -1)
    numbers = np.ascontiguousarray(words).view(kind).reshape(LOCAL, WORDS, -1)
    down, up = numbers[:, None, 0], numbers[:, None, 1]
    x, y = numbers[:, 2::2].copy(), numbers[:, 3::2].copy()

    def product(multiplier: Any, values: Any) -> Any:
        if path != "intdot":
            return multiplier * values
        bytes_of = [np.ascontiguousarray(v).view(np.int8).reshape(*v.shape[:-1], 4).astype(np.int32) for v in (multiplier, values)]
        return np.sum(bytes_of[0] * bytes_of[1], axis=-1, keepdims=True, dtype=np.int32)

    for _ in range(turns * 32):
        x = x + product(down, y)
        y = y + product(up, x)
    return np.ascontiguousarray(np.stack([x, y], axis=2)).reshape(LOCAL, -1).view(np.uint32).reshape(LOCAL, 2 * PAIRS)


@pytest.mark.parametrize("path", WIDTHS)
def test_vectors_come_out_as_their_own_arithmetic_has_them(path: str) -> None:
    """Step by step, each product and sum rounded to the type: no step is inexact, whether a device fuses them or not."""
    peak = vector_peak(path)
    wanted = digest(stepped(path, peak.source.view(np.uint32).reshape(LOCAL, WORDS), 2))
    verdict = peak.check(np.tile(wanted, 3).view(np.uint8))
    assert verdict.wrong is None
    assert verdict.nmse == 0


@pytest.mark.parametrize("path", WIDTHS)
def test_a_vector_kernel_that_left_a_turn_out_is_wrong(path: str) -> None:
    """Or all of them; or one bit of one invocation's numbers, or wrote nothing."""
    peak = vector_peak(path, turns=2)
    words = peak.source.view(np.uint32).reshape(LOCAL, WORDS)
    right = np.tile(digest(stepped(path, words, 2)), 3)
    assert peak.check(right.view(np.uint8)).wrong is None
    for turns in (0, 1):
        assert peak.check(np.tile(digest(stepped(path, words, turns)), 3).view(np.uint8)).wrong
    off = right.copy()
    off[LOCAL + 5] ^= 1
    assert peak.check(off.view(np.uint8)).wrong == "1 of 24 invocations, the first 5 of workgroup 1, have wrong sums"
    assert "24 of 24" in (peak.check(np.full(96, 0xFF, np.uint8)).wrong or "")


TUPLES = [
    ("f16", "f16", "f16"), ("f16", "f16", "f32"), ("bf16", "bf16", "bf16"), ("bf16", "bf16", "f32"), ("e4m3", "e5m2", "f32"),
    ("e5m2", "e5m2", "f16"), ("s8", "s8", "s32"), ("u8", "u8", "u32"), ("s8", "u8", "s32"), ("u8", "s8", "u32"), ("s8", "s8", "u32"),
]  # fmt: skip
_BYTES = {"f16": 2, "bf16": 2, "e4m3": 1, "e5m2": 1, "s8": 1, "u8": 1}
_STORAGE = {"f16": np.float16, "bf16": np.uint16, "f32": np.float32, "s32": np.int32, "u32": np.uint32, "s8": np.int8, "u8": np.uint8}
_EXACT = {"f16": 2**11, "bf16": 2**8, "f32": 2**24, "s32": 2**31, "u32": 2**31}


def operands(of: Products, source: Any) -> tuple[Any, Any, Any, Any]:
    """A, A', B and the first sums out of a source's bytes, as f64."""
    m, n, k = 16, 8, of.k
    width = _BYTES[of.a]
    ends = np.cumsum([2 * 4 * m * k * width, 4 * k * n * width])
    a, b, c = np.split(source, ends)
    stored_a, stored_b = (part.view(_STORAGE.get(kind, np.uint8)) for part, kind in ((a, of.a), (b, of.b)))
    both = decode(of.a, stored_a).reshape(2, 2, 2, m, k)
    first = decode(of.c, c.view(_STORAGE[of.c])).reshape(2, 2, 2, m, n)
    if of.c == "u32":
        first = first.astype(np.int64).astype(np.int32).astype(np.float64)
    return both[:, 0], both[:, 1], decode(of.b, stored_b).reshape(2, 2, k, n), first


def stored(of: Products, values: Any) -> Any:
    """Sums as the device writes them, for three workgroups."""
    if of.c == "bf16":
        bits = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    elif of.c in ("s32", "u32"):
        bits = (values.astype(np.int64) & 0xFFFFFFFF).astype(np.uint32)
    else:
        bits = values.astype(_STORAGE[of.c])
    return np.tile(bits.reshape(-1), 3).view(np.uint8)


@pytest.mark.parametrize("k", [8, 16, 32])
@pytest.mark.parametrize(("a", "b", "c"), TUPLES)
def test_matrices_come_out_as_sums_of_products(a: str, b: str, c: str, k: int) -> None:
    """Addition by addition; no sum on the way is beyond what the accumulator holds exactly."""
    of = Products(a, b, c, pairs=6, k=k)
    peak = of.peak()
    plus, minus, right, sums = operands(of, peak.source)
    for step in range(2 * 6 + 1):
        sums = sums + (minus if step % 2 else plus)[:, :, None] @ right[:, None]
        assert np.abs(sums).max() <= _EXACT[c]
    assert peak.check(stored(of, sums)).wrong is None


@pytest.mark.parametrize(("a", "b", "c"), TUPLES)
def test_sums_stay_exact_however_long_the_loop(a: str, b: str, c: str) -> None:
    """There are as many pairs as a device's smallest tuple allows; products use more than one bit."""
    of = Products(a, b, c, pairs=8192)
    plus, minus, right, sums = operands(of, of.peak().source)
    last = sums + 8192 * ((plus + minus)[:, :, None] @ right[:, None])
    assert np.abs(last).max() + np.abs(plus[:, :, None] @ right[:, None]).max() <= _EXACT[c]
    assert np.abs(plus).max() >= 3
    assert np.abs(right).max() >= 3


@pytest.mark.parametrize(("a", "b", "c"), TUPLES)
def test_a_matrix_kernel_that_is_wrong_is_reported(a: str, b: str, c: str) -> None:
    """It did nothing, left a pair out where sums count them, or got one element wrong; zeros of either sign are the same."""
    of = Products(a, b, c, pairs=6)
    peak = of.peak()
    plus, minus, right, sums = operands(of, peak.source)
    product, taken = plus[:, :, None] @ right[:, None], minus[:, :, None] @ right[:, None]
    assert peak.check(stored(of, sums)).wrong
    counts = c in ("f32", "s32", "u32") and not {a, b} & {"e4m3", "e5m2"}
    assert (peak.check(stored(of, sums + 5 * (product + taken) + product)).wrong is not None) == counts
    right_sums = sums + 6 * (product + taken) + product
    off = right_sums.copy()
    off[1, 0, 1, 3, 2] += 1
    reason = peak.check(stored(of, off)).wrong or ""
    assert reason.startswith("3 of 3072 sums differ, the first at ")
    if c in ("f16", "f32", "bf16"):
        assert peak.check(stored(of, np.where(right_sums == 0, -0.0, right_sums))).wrong is None
    assert peak.check(np.full(stored(of, sums).size, 0xFF, np.uint8)).wrong


def test_copies_beyond_the_random_data_are_checked_to_the_end() -> None:
    """Data begin again after some 16 MiB; a byte that differs is found wherever it is, and a sum of any workgroup."""
    size = 33 << 20
    cells = [cell("copy", {"bytes": size}, mode=mode) for mode in ("shader", "read")]
    programs = [plan.program for plan in plans(cells, recorded("nvidia-h200"))]
    copied, read = (find("copy").reference(program, SharedReferences()) for program in programs)
    assert isinstance(copied, OnePass)
    assert isinstance(read, OnePass)
    assert programs[1].first is not None
    groups = programs[1].first.groups[0]
    data = np.resize(copied.source, size)
    assert copied.source.size < size / 2
    assert copied.check(data).wrong is None
    sums = data.view(np.uint32).reshape(groups, -1).sum(axis=1, dtype=np.uint32)
    assert np.array_equal(read.source, copied.source)
    assert read.check(sums.view(np.uint8)).wrong is None
    data[-1] ^= 1
    sums[groups - 1] += 1
    assert copied.check(data).wrong == f"1 of {size} B differ, the first at {size - 1}"
    assert read.check(sums.view(np.uint8)).wrong == f"1 of {groups} sums differ, the first of workgroup {groups - 1}"
