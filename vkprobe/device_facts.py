"""Types of device facts: what a driver reports about a device, as device records store it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

ComponentType = str  # f16 f32 f64 bf16 e4m3 e5m2 s8 s16 s32 s64 u8 u16 u32 u64; `type-N` for one this version has no name for


class DriverIdentity(Struct, frozen=True, kw_only=True):
    """The driver that a number came from; `build_id` is the ELF build id of its library, `kernel_module` the DRM module below it."""

    name: str | None
    id: str | None
    info: str | None
    version: str | None
    icd: str | None
    build_id: str | None
    api: str | None
    conformance: str | None
    kernel_module: str | None


class Hardware(Struct, frozen=True, kw_only=True):
    """The part of a device that stays the same under another driver; `pci` as domain:bus:device.function, `chip` as the driver names it."""

    vendor_id: int
    device_id: int
    pci: str | None
    chip: str | None


class KhrTuple(Struct, frozen=True, kw_only=True):
    """One row of vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR: result[m,n] = a[m,k] * b[k,n] + c[m,n]."""

    m: int
    n: int
    k: int
    a: ComponentType
    b: ComponentType
    c: ComponentType
    result: ComponentType
    saturating: bool
    scope: str


class FlexibleTuple(Struct, frozen=True, kw_only=True):
    """One row of vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV: any multiple of the granularities."""

    m_granularity: int
    n_granularity: int
    k_granularity: int
    a: ComponentType
    b: ComponentType
    c: ComponentType
    result: ComponentType
    saturating: bool
    scope: str
    workgroup_invocations: int


class VectorCombination(Struct, frozen=True, kw_only=True):
    """One row of vkGetPhysicalDeviceCooperativeVectorPropertiesNV: the types of the input and result, and as what memory is read."""

    input: ComponentType
    input_interpretation: ComponentType
    matrix_interpretation: ComponentType
    bias_interpretation: ComponentType
    result: ComponentType
    transpose: bool


class Coopmat(Struct, frozen=True, kw_only=True):
    """Results of the cooperative-matrix and cooperative-vector queries, in the driver's order; null where a query couldn't be made.

    `ext` rows are those of VK_EXT_cooperative_matrix_maintenance1, with the scope, invocations and subgroup size that
    were asked for; unproven: no driver at hand has that extension.
    """

    khr: list[KhrTuple] | None
    nv_flexible: list[FlexibleTuple] | None
    ext: list[dict[str, Any]] | None
    cooperative_vector: list[VectorCombination] | None = None


class Queue(Struct, frozen=True, kw_only=True):
    """A queue family: flags in the specification's names (`COMPUTE`), valid timestamp bits (0 to 64)."""

    flags: list[str]
    count: int
    timestamp_bits: int


class Heap(Struct, frozen=True, kw_only=True):
    """A memory heap."""

    bytes: int
    device_local: bool
