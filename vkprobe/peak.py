"""How much a peak kernel multiplies, and how its numbers lie in memory: what planning and verifying it both know.

kernels/peak has the kernels. A job's `n` is the invocations of a workgroup, its `k` the multiply-adds of one.
"""

from __future__ import annotations

from msgspec import Struct

from vkprobe.jobs import Job

PAIRS = 8
"""Independent chains of an invocation: two numbers each, which are operands of each other's steps."""
ROUNDS = 32
"""Of the unrolled loop: in each every number is added to once."""
WORDS = 2 + 2 * PAIRS
"""Of an invocation's numbers: the two multipliers, then the pairs."""
WIDTHS = {"scalar-f32": 1, "scalar-f16": 2, "dot2": 2, "intdot": 4}
"""Multiply-adds of a step, by path."""
COMPONENT_BYTES = {"f16": 2, "bf16": 2, "f32": 4, "e4m3": 1, "e5m2": 1, "s8": 1, "u8": 1, "s32": 4, "u32": 4}


def looped(width: int) -> int:
    """Multiply-adds of one turn of the vector kernels' loop.

    >>> looped(1), looped(4)
    (512, 2048)
    """
    return 2 * PAIRS * ROUNDS * width


def rounds(job: Job) -> int:
    """How often a vector kernel adds to every number."""
    return job.k // (2 * PAIRS * WIDTHS[job.path])


class Matrices(Struct, frozen=True, kw_only=True):
    """The matrices of a workgroup: `tiles` times `side` x `side` sums of m x n, `side` A's and A''s of m x k and B's of k x n.

    >>> small = Matrices(a="f16", c="f32", m=16, n=16, k=16, tiles=4, side=2, local=128)
    >>> small.source_bytes, small.output_bytes, small.multiply_adds(pairs=4), small.pairs(small.multiply_adds(pairs=4))
    (28672, 16384, 4608, 4)
    """

    a: str
    c: str
    m: int
    n: int
    k: int
    tiles: int
    side: int
    local: int

    @property
    def source_bytes(self) -> int:
        """All A's and A''s, all B's, then the sums to begin with; one workgroup's, which all share."""
        operands = 2 * self.m * self.k + self.k * self.n
        return self.tiles * self.side * operands * COMPONENT_BYTES[self.a] + self.output_bytes

    @property
    def output_bytes(self) -> int:
        """The sums of one workgroup."""
        return self.tiles * self.side**2 * self.m * self.n * COMPONENT_BYTES[self.c]

    @property
    def _added(self) -> int:
        """Multiply-adds of an invocation where every sum is added to once."""
        return self.tiles * self.side**2 * self.m * self.n * self.k // self.local

    def multiply_adds(self, pairs: int) -> int:
        """Of an invocation, where A * B and A' * B are added `pairs` times each, and A * B once more."""
        return self._added * (2 * pairs + 1)

    def pairs(self, multiply_adds: int) -> int:
        """The inverse of `multiply_adds`."""
        return (multiply_adds // self._added - 1) // 2


def matrices(job: Job) -> Matrices:
    """The matrices of a job of the path coopmat (subgroup scope) or coopmat2 (workgroup scope)."""
    local, m, n, k, tiles = (value for _, value in job.constants)
    side = 1 if job.path == "coopmat2" else 2
    return Matrices(a=job.type, c=job.accumulator, m=m, n=n, k=k, tiles=tiles, side=side, local=local)
