"""Workgroups of matrix-vector products: rows, invocations, subgroup size and reduction, with f32 or q8_1 activations."""

from __future__ import annotations

from msgspec import Struct

from vkprobe.llama.device import IMAGINATION, Limits, Vendor
from vkprobe.weights import WEIGHT_TYPES, RowUnit

MOST_COLUMNS = 8
"""With up to so many columns llama.cpp multiplies a matrix with vectors. Source: ggml-vulkan-types.h:381, ggml-vulkan.cpp:7285."""

_TABLE_BYTES = 64  # 16 numbers of f32, counted for every type
_SCALE_BYTES = 8  # for each invocation, as most types with scales in shared memory have them
_WIDE = 16  # invocations that kernels of K types, IQ types and fp4 want at least
_LONG_K = 1024
_LANES_OF_BLOCK = 4
_MANY_COLUMNS = 5


class Rows(Struct, frozen=True, kw_only=True):
    """A GEMV's workgroup: `block` invocations compute `rows` rows; in words, `hybrid` adds up subgroups' sums in shared memory.

    Attributes:
        subgroup: the subgroup size that the kernel is compiled for.
        reduce: the kernel's reduction, `subgroup` (one or several) or `shared` (memory only).
        unroll: steps along K at a time.
    """

    block: int
    rows: int
    subgroup: int
    reduce: str
    unroll: int

    def __str__(self) -> str:
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        reduce = "hybrid" if self.reduce == "subgroup" and self.block > self.subgroup else self.reduce
        return f"{rows} {self.block}/{self.subgroup} {reduce}"

    def constants(self, n: int) -> dict[str, int]:
        """The kernel's specialisation constants by name."""
        return {"block": self.block, "rows": self.rows, "columns": n, "subgroup": self.subgroup, "unroll": self.unroll}

    def shared_bytes(self, n: int, scale_bytes: int = _SCALE_BYTES, table_bytes: int = _TABLE_BYTES) -> int:
        """Shared memory of a workgroup (B): an f32 sum for each invocation, row and column, and a type's table or scales beside."""
        alone = self.reduce == "subgroup" and self.block <= self.subgroup
        return 4 * n * self.rows * (1 if alone else self.block) + max(
            _TABLE_BYTES, table_bytes, max(_SCALE_BYTES, scale_bytes) * self.block
        )


def _unit(limits: Limits, unit: RowUnit) -> int:
    """The factor that a float GEMV's rows are multiplied by. Source: ggml-vulkan.cpp:2868-2882."""
    if unit == "kq":
        return 4 if limits.gcn else 2
    return 2 if unit == "stdq" and (limits.gcn or limits.vendor == Vendor.INTEL) else 1


def _q8_1_unit(limits: Limits, unit: RowUnit) -> int:
    """The factor that a q8_1 GEMV's rows are multiplied by; `rm_kq_int` is 1 everywhere. Source: ggml-vulkan.cpp:2870-2882."""
    if unit != "stdq":
        return 1
    return 4 if limits.gcn else 2 if limits.vendor == Vendor.INTEL else 1


def _large(limits: Limits, weight_type: str, m: int, k: int) -> bool:
    """Whether a workgroup has four subgroups: on NVIDIA from Turing on and on Intel, for long rows that are not too many.

    Source: ggml-vulkan.cpp:5565-5580.
    """
    several = limits.vendor == Vendor.INTEL or (limits.vendor == Vendor.NVIDIA and limits.coopmat)
    return several and k >= _LONG_K and m <= WEIGHT_TYPES[weight_type].gemv_most_rows


def gemv_rows(limits: Limits, weight_type: str, m: int, k: int) -> Rows:
    """The workgroup of a GEMV of `m` rows of `k` with f32 activations.

    Kernels of wide types run in subgroups of 16 or more, or reduce through shared memory where there are none. Imagination's compiler
    rejects their subgroup kernels.

    Source: ggml-vulkan.cpp:2890-2924, 2927-2954.
    """
    row = WEIGHT_TYPES[weight_type]
    low, high = limits.required_sizes or (limits.subgroup, limits.subgroup)
    narrow = _WIDE if limits.vendor == Vendor.INTEL and limits.required_sizes and low <= _WIDE <= high else limits.subgroup
    width = max(narrow, _WIDE) if row.gemv_wide else narrow
    in_subgroups = limits.arithmetic
    if row.gemv_wide:
        in_subgroups = in_subgroups and limits.any_width_16 and limits.driver_id != IMAGINATION
    return Rows(
        block=4 * width if _large(limits, weight_type, m, k) else width,
        rows=row.gemv_rows * _unit(limits, row.gemv_unit),
        subgroup=width if in_subgroups else narrow,
        reduce="subgroup" if in_subgroups else "shared",
        unroll=limits.deviation.unroll,
    )


def q8_1_rows(limits: Limits, weight_type: str, m: int, n: int, k: int) -> Rows:
    """The workgroup of a GEMV of `m` rows of `k` and `n` columns with q8_1 activations.

    One subgroup on Intel, too; four rows on RDNA3 from five columns on. A block of 32 is shared by four invocations at the most:
    subgroups narrower than any that llama.cpp knows get as many.

    Raises:
        KeyError: llama.cpp has no such kernel for the type.

    Source: ggml-vulkan.cpp:2884-2885 (RDNA3), 2986-3007, 5582-5586 (Intel).
    """
    q8_1 = WEIGHT_TYPES[weight_type].q8_1
    if q8_1 is None or not q8_1.gemv:
        raise KeyError(f"llama.cpp has no GEMV of {weight_type} with q8_1 activations")
    subgroup = limits.narrow_subgroup
    large = limits.vendor != Vendor.INTEL and _large(limits, weight_type, m, k)
    rows = q8_1.gemv_rows * _q8_1_unit(limits, q8_1.gemv_unit)
    return Rows(
        block=4 * subgroup if large else max(subgroup, _LANES_OF_BLOCK),
        rows=4 if limits.architecture == "amd-rdna3" and n >= _MANY_COLUMNS else rows,
        subgroup=subgroup,
        reduce="subgroup" if limits.arithmetic else "shared",
        unroll=limits.deviation.unroll,
    )
