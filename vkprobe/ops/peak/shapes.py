"""How much a peak kernel multiplies, and how its numbers lie in memory: shared by planning and verifying. kernels/peak has the kernels."""

from __future__ import annotations

from msgspec import Struct

from vkprobe.kernels import Kernel
from vkprobe.llama.device import Limits
from vkprobe.records import DeviceRecord
from vkprobe.requirements.facts import has_extension, lookup

PAIRS = 8
"""Independent chains of an invocation: two numbers each, operands of each other's steps."""
ROUNDS = 32
"""Rounds of the unrolled loop; each adds to every number once."""
WORDS = 2 + 2 * PAIRS
"""Words of an invocation's numbers: the two multipliers, then the pairs."""
WIDTHS = {"scalar-f32": 1, "scalar-f16": 2, "dot2": 2, "intdot": 4}
"""Multiply-adds of a step, by path."""
COMPONENT_BYTES = {"f16": 2, "bf16": 2, "f32": 4, "e4m3": 1, "e5m2": 1, "s8": 1, "u8": 1, "s32": 4, "u32": 4}
TILES = 4
"""Matrix tiles of a workgroup at subgroup scope, one a subgroup."""
_WORKGROUP_LOCAL = 256


def looped(width: int) -> int:
    """Multiply-adds of one turn of the vector kernels' loop.

    >>> looped(1), looped(4)
    (512, 2048)
    """
    return 2 * PAIRS * ROUNDS * width


def rounds(multiply_adds: int, path: str) -> int:
    """How often a vector kernel adds to every number."""
    return multiply_adds // (2 * PAIRS * WIDTHS[path])


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
        """All A's and A''s, all B's, then the initial sums; one workgroup's, which all share."""
        operands = 2 * self.m * self.k + self.k * self.n
        return self.tiles * self.side * operands * COMPONENT_BYTES[self.a] + self.output_bytes

    @property
    def output_bytes(self) -> int:
        """The sums of one workgroup."""
        return self.tiles * self.side**2 * self.m * self.n * COMPONENT_BYTES[self.c]

    @property
    def _added(self) -> int:
        """Multiply-adds of an invocation if every sum is added to once."""
        return self.tiles * self.side**2 * self.m * self.n * self.k // self.local

    def multiply_adds(self, pairs: int) -> int:
        """Multiply-adds of an invocation if A * B and A' * B are added `pairs` times each, and A * B once more."""
        return self._added * (2 * pairs + 1)

    def pairs(self, multiply_adds: int) -> int:
        """The inverse of `multiply_adds`."""
        return (multiply_adds // self._added - 1) // 2


def tile_matrices(kernel: Kernel, shape: tuple[int, int, int], limits: Limits) -> Matrices:
    """Matrices of subgroup scope, a tile for each subgroup of the workgroup."""
    m, n, k = shape
    subgroup = max(1, limits.subgroup)
    local = max(1, min(TILES, limits.workgroup_invocations // subgroup)) * subgroup
    return Matrices(a=kernel.a, c=kernel.c, m=m, n=n, k=k, tiles=TILES, side=2, local=local)


def workgroup_matrices(kernel: Kernel, shape: tuple[int, int, int]) -> Matrices:
    """Matrices of workgroup scope."""
    m, n, k = shape
    return Matrices(a=kernel.a, c=kernel.c, m=m, n=n, k=k, tiles=1, side=1, local=_WORKGROUP_LOCAL)


def has_workgroup_scope(device: DeviceRecord) -> bool:
    """Whether matrices of workgroup scope can be compiled."""
    scope = lookup(device.features, "VkPhysicalDeviceCooperativeMatrix2FeaturesNV", "cooperativeMatrixWorkgroupScope")
    return bool(has_extension(device, "VK_NV_cooperative_matrix2") and scope)
