"""Facts of a device that llama.cpp's rules look at, and its rules by vendor, driver and architecture.

Facts may be incomplete, so rules are three-valued: None where the facts don't say.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from msgspec import Struct

from vkprobe.records import DeviceRecord
from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.facts import has_extension, lookup
from vkprobe.requirements.load import requirement

Matrix = tuple[int, int, int]
"""M, N and K of a cooperative-matrix shape."""

_COMPUTE_BIT = 0x20
_ARITHMETIC_BIT = 0x4
_CLUSTERED_BIT = 0x40
_Q8_1_LANES = 8
_INDEPENDENT = (0, 1)  # VK_SHADER_FLOAT_CONTROLS_INDEPENDENCE_{32_BIT_ONLY,ALL}

_SIZES = "VkPhysicalDeviceSubgroupSizeControlProperties"
_CONTROL = "VkPhysicalDeviceSubgroupSizeControlFeatures"
_DOT = "VkPhysicalDeviceShaderIntegerDotProductProperties"
_CORE = "VkPhysicalDeviceShaderCorePropertiesAMD"
_SM = "VkPhysicalDeviceShaderSMBuiltinsPropertiesNV"

LLVMPIPE = "VK_DRIVER_ID_MESA_LLVMPIPE"
HONEYKRISP = "VK_DRIVER_ID_MESA_HONEYKRISP"
INTEL_WINDOWS = "VK_DRIVER_ID_INTEL_PROPRIETARY_WINDOWS"
AMD_PROPRIETARY = "VK_DRIVER_ID_AMD_PROPRIETARY"
AMD_OPEN_SOURCE = "VK_DRIVER_ID_AMD_OPEN_SOURCE"
IMAGINATION = "VK_DRIVER_ID_IMAGINATION_PROPRIETARY"


class Vendor(enum.IntEnum):
    """PCI vendor ids that llama.cpp has rules for."""

    AMD = 0x1002
    APPLE = 0x106B
    INTEL = 0x8086
    NVIDIA = 0x10DE
    QUALCOMM = 0x5143


class Deviation(Struct, frozen=True, kw_only=True):
    """Where vkprobe departs from llama.cpp's rules on purpose, because they suit a driver badly.

    Attributes:
        sizes: tile sizes to choose from instead of llama.cpp's; None for llama.cpp's.
        small_block: invocations of the small GEMM tile's workgroup; None for llama.cpp's.
        unroll: steps along K that a GEMV unrolls.
    """

    sizes: str | None = None
    small_block: int | None = None
    unroll: int = 4


FAITHFUL = Deviation()
LAVAPIPE = Deviation(sizes="sm", small_block=128, unroll=1)
"""lavapipe compiles at the first dispatch. The large tile takes it half a minute on matrices, the small tile four times as long as one
with four times the invocations, and a GEMV that unrolls four steps more than four times as long as one that doesn't."""


class Limits(Struct, frozen=True, kw_only=True):
    """The facts behind the choices; sizes in B.

    Attributes:
        architecture: as `architecture` says; None where the facts don't say.
        cores: as `shader_cores` says; None where the facts don't say.
        coopmat: the driver lists VK_KHR_cooperative_matrix, whether llama.cpp uses it or not.
        matrices: llama.cpp multiplies on KHR cooperative matrices; False where the facts don't say.
        bf16_matrices: it does so for bf16 weights, too.
        matrix: the shape that it takes for f16 and bf16; None where the device lists none.
        f16_accumulator: matrices of that shape accumulate in f16, too.
        int8_matrix: the shape that it takes for int8; None where the device lists none.
        f16: shaders compute in f16.
        required_sizes: subgroup sizes that a compute shader may require, (smallest, largest); None where it may not.
        clusters: subgroups reduce over clusters of the eight invocations that share a q8_1 block.
        robustness: the driver lists VK_EXT_pipeline_robustness.
    """

    vendor: int
    driver_id: str
    architecture: str | None
    cores: int | None
    coopmat: bool
    matrices: bool
    bf16_matrices: bool
    matrix: Matrix | None
    f16_accumulator: bool
    int8_matrix: Matrix | None
    f16: bool
    subgroup: int
    subgroup_min: int
    subgroup_max: int
    required_sizes: tuple[int, int] | None
    full_subgroups: bool
    arithmetic: bool
    clusters: bool
    shared_memory: int
    workgroup_invocations: int
    max_groups_x: int
    rounding_f16: bool
    denormals_f16: bool
    robustness: bool
    deviation: Deviation = FAITHFUL

    @property
    def gcn(self) -> bool:
        """AMD GCN as llama.cpp recognises it."""
        return self.architecture == "amd-gcn"

    @property
    def amd_proprietary(self) -> bool:
        """Whether the driver is AMD's closed one; AMDVLK doesn't count."""
        return self.driver_id == AMD_PROPRIETARY

    @property
    def narrow_subgroup(self) -> int:
        """The subgroup size of scalar tiles for experts and of q8_1 GEMVs: Intel's smallest where it can be required, else the device's.

        Source: ggml-vulkan.cpp:1690, 2987.
        """
        return self.required_sizes[0] if self.vendor == Vendor.INTEL and self.required_sizes else self.subgroup

    @property
    def any_width_16(self) -> bool:
        """Shaders can run in subgroups of 16 or more. Source: ggml-vulkan.cpp:1697-1698."""
        return (self.required_sizes[1] if self.required_sizes else self.subgroup) >= 16


def fold(groups: int, limits: Limits) -> tuple[int, int, int]:
    """A one-dimensional grid, folded to y where it is wider than the device takes."""
    x = min(groups, limits.max_groups_x)
    return x, -(-groups // x), 1


def _number(device: DeviceRecord, struct: str, member: str, default: int) -> int:
    value = lookup(device.properties, struct, member)
    return default if value is None else int(value)


def _on(device: DeviceRecord, struct: str, member: str) -> bool:
    return bool(lookup(device.features, struct, member))


def limits(device: DeviceRecord) -> Limits:
    """The facts of `device`; the specification's guaranteed minimum where they don't say.

    Source: ggml-vulkan.cpp:4220 (subgroups), 4232 (float controls), 4524 (required sizes), 4679 (matrices).
    """
    core, controls = "VkPhysicalDeviceProperties", "VkPhysicalDeviceFloatControlsProperties"
    size = "VkPhysicalDeviceSubgroupProperties"
    subgroup = _number(device, size, "subgroupSize", 1)
    low, high = _number(device, _SIZES, "minSubgroupSize", subgroup), _number(device, _SIZES, "maxSubgroupSize", subgroup)
    control = _on(device, _CONTROL, "subgroupSizeControl")
    stages = _number(device, _SIZES, "requiredSubgroupSizeStages", 0)
    # Without independence, modes must be equal for all widths, and only f16's would be set. llama.cpp doesn't look at it.
    rounding = lookup(device.properties, controls, "roundingModeIndependence") in _INDEPENDENT
    denormals = lookup(device.properties, controls, "denormBehaviorIndependence") in _INDEPENDENT
    compute = bool(_number(device, size, "supportedStages", 0) & _COMPUTE_BIT)
    operations = _number(device, size, "supportedOperations", 0) if compute else 0
    groups = lookup(device.properties, core, "limits.maxComputeWorkGroupCount")
    matrices = coopmat_used(device) is True
    return Limits(
        vendor=device.hardware.vendor_id,
        driver_id=device.driver.id or "",
        architecture=architecture(device),
        cores=shader_cores(device),
        coopmat=bool(has_extension(device, "VK_KHR_cooperative_matrix")),
        matrices=matrices,
        bf16_matrices=matrices and evaluate(device, requirement("coopmat-bf16")).met is True,
        matrix=first_matrix(device),
        f16_accumulator=_accumulates_f16(device),
        int8_matrix=int8_matrix(device),
        f16=evaluate(device, requirement("scalar-f16")).met is True,
        subgroup=subgroup,
        subgroup_min=low,
        subgroup_max=high,
        required_sizes=(low, high) if control and stages & _COMPUTE_BIT else None,
        full_subgroups=_on(device, _CONTROL, "computeFullSubgroups"),
        arithmetic=bool(operations & _ARITHMETIC_BIT),
        clusters=bool(operations & _CLUSTERED_BIT) and low >= _Q8_1_LANES,
        shared_memory=_number(device, core, "limits.maxComputeSharedMemorySize", 16384),
        workgroup_invocations=_number(device, core, "limits.maxComputeWorkGroupInvocations", 128),
        max_groups_x=int(groups[0]) if groups else 65535,
        rounding_f16=rounding and bool(lookup(device.properties, controls, "shaderRoundingModeRTEFloat16")),
        denormals_f16=denormals and bool(lookup(device.properties, controls, "shaderDenormPreserveFloat16")),
        robustness=bool(has_extension(device, "VK_EXT_pipeline_robustness")),
        deviation=LAVAPIPE if device.driver.id == LLVMPIPE else FAITHFUL,
    )


def first_matrix(device: DeviceRecord) -> Matrix | None:
    """The shape that llama.cpp takes for f16 and bf16: that of the first tuple it could use; None where none is listed.

    Source: ggml-vulkan.cpp:4679-4745.
    """
    bf16 = has_extension(device, "VK_KHR_shader_bfloat16")
    for t in device.coopmat.khr or []:
        floats = t.a == t.b == "f16" and t.c == t.result and t.c in ("f16", "f32")
        brains = bf16 and t.a == t.b == "bf16" and t.c == t.result == "f32"
        if t.scope == "subgroup" and (floats or brains):
            return t.m, t.n, t.k
    return None


def _accumulates_f16(device: DeviceRecord) -> bool:
    """Whether f16 matrices of the shape that llama.cpp takes accumulate in f16. Source: ggml-vulkan.cpp:4698-4709."""
    shape = first_matrix(device)
    listed = device.coopmat.khr or []
    return any((t.m, t.n, t.k) == shape and t.a == t.b == t.c == t.result == "f16" and t.scope == "subgroup" for t in listed)


def int8_matrix(device: DeviceRecord) -> Matrix | None:
    """The shape that llama.cpp takes for int8: that of the first s8,s8->s32 tuple; None where none is listed.

    Source: ggml-vulkan.cpp:4714-4725.
    """
    for t in device.coopmat.khr or []:
        if t.a == t.b == "s8" and t.c == t.result == "s32" and t.scope == "subgroup":
            return t.m, t.n, t.k
    return None


class Ruling(NamedTuple):
    """A rule's answer and the rule in words; where the facts don't say (None), what would decide it."""

    holds: bool | None
    because: str


def ruled(holds: bool | None, rule: str, open_for: str) -> Ruling:
    """A ruling whose words are the rule, or what would decide it (`open_for`) with the rule."""
    return Ruling(holds, rule if holds is not None else f"{open_for} ({rule})")


def architecture(device: DeviceRecord) -> str | None:
    """The architecture as llama.cpp recognises it; `other` where it has no rule, None where the facts don't say.

    One of amd-gcn, amd-rdna1, amd-rdna2, amd-rdna3, amd-rdna4, intel-xe1, intel-xe2 (and later), nvidia-pre-turing,
    nvidia-turing, qualcomm-adreno (with matrix units), other.

    Source: ggml-vulkan.cpp:8-149.
    """
    vendor = device.hardware.vendor_id
    if vendor == Vendor.AMD:
        return _amd(device)
    if vendor == Vendor.INTEL:
        return _intel(device)
    if vendor == Vendor.NVIDIA:
        return _nvidia(device)
    if vendor == Vendor.QUALCOMM:
        units = _listed(device, "VK_KHR_cooperative_matrix", "VK_QCOM_cooperative_matrix_conversion")
        return None if units is None else "qualcomm-adreno" if units else "other"
    return "other" if vendor else None


def _listed(device: DeviceRecord, *names: str) -> bool | None:
    listed = [has_extension(device, name) for name in names]
    return None if None in listed else all(listed)


def _amd(device: DeviceRecord) -> str | None:
    listed = _listed(device, "VK_AMD_shader_core_properties", "VK_KHR_shader_integer_dot_product", "VK_EXT_subgroup_size_control")
    if not listed:
        return None if listed is None else "other"
    low, high = (lookup(device.properties, _SIZES, member) for member in ("minSubgroupSize", "maxSubgroupSize"))
    if low is None or high is None:
        return None
    if (low, high) == (64, 64):
        return "amd-gcn"
    if (low, high) != (32, 64):
        return "other"
    wavefronts = lookup(device.properties, _CORE, "wavefrontsPerSimd")
    if wavefronts == 20:
        return "amd-rdna1"
    mixed = lookup(device.properties, _DOT, "integerDotProduct4x8BitPackedMixedSignednessAccelerated")
    if wavefronts is None or mixed is None:
        return None
    if has_extension(device, "VK_EXT_shader_float8"):
        return "amd-rdna4"
    return "amd-rdna3" if mixed else "amd-rdna2"


def _intel(device: DeviceRecord) -> str | None:
    listed = _listed(device, "VK_EXT_subgroup_size_control", "VK_KHR_shader_integer_dot_product")
    if not listed:
        return None if listed is None else "other"
    low = lookup(device.properties, _SIZES, "minSubgroupSize")
    if low == 16:
        return "intel-xe2"
    if low != 8:
        return None if low is None else "other"
    accelerated = lookup(device.properties, _DOT, "integerDotProduct4x8BitPackedSignedAccelerated")
    if accelerated is None:
        return None
    return "intel-xe1" if accelerated else "other"


def _nvidia(device: DeviceRecord) -> str | None:
    listed = has_extension(device, "VK_KHR_cooperative_matrix")
    if not listed:
        return None if listed is None else "nvidia-pre-turing"
    if not has_extension(device, "VK_NV_shader_sm_builtins"):
        return "other"
    warps = lookup(device.properties, _SM, "shaderWarpsPerSM")
    if warps is None:
        return None
    return "nvidia-turing" if warps == 32 else "other"


def coopmat_allowed(device: DeviceRecord) -> Ruling:
    """Whether llama.cpp uses KHR cooperative matrices on this vendor's device; its rule for coopmat2 has no such list.

    Source: ggml-vulkan.cpp:16227-16245.
    """
    vendor, driver, arch = device.hardware.vendor_id, device.driver.id, architecture(device)
    if vendor == Vendor.INTEL:
        if arch == "intel-xe1" and driver == INTEL_WINDOWS:
            rule = "on Xe under Windows llama.cpp uses cooperative matrices on integrated GPUs only"
            return Ruling(device.type == "integrated-gpu", rule)
        rule = "on Intel llama.cpp uses cooperative matrices only from Xe2 on (minSubgroupSize 16)"
        return ruled(None if arch is None else arch == "intel-xe2", rule, "the architecture")
    if vendor == Vendor.AMD:
        rule = "with AMD's own drivers llama.cpp uses cooperative matrices only on RDNA3 and RDNA4"
        if driver is None:
            return ruled(None, rule, "the driver")
        if driver in (AMD_PROPRIETARY, AMD_OPEN_SOURCE):
            return ruled(None if arch is None else arch in ("amd-rdna3", "amd-rdna4"), rule, "the architecture")
    if vendor == Vendor.QUALCOMM:
        rule = "on Qualcomm llama.cpp uses cooperative matrices only with VK_QCOM_cooperative_matrix_conversion"
        return ruled(None if arch is None else arch == "qualcomm-adreno", rule, "the extensions")
    return Ruling(True, "llama.cpp has no rule against this driver")


def coopmat_used(device: DeviceRecord) -> bool | None:
    """Whether llama.cpp multiplies on KHR cooperative matrices: the device has what they need, and the vendor's rule allows it.

    Source: ggml-vulkan.cpp:4273, 4531, 4748.
    """
    answers = (evaluate(device, requirement("coopmat")).met, coopmat_allowed(device).holds)
    return False if False in answers else None if None in answers else True


INTEL_CORES = {
    0x56A6: 6,
    0x5693: 8,
    0x56A5: 8,
    0x56B1: 8,
    0x5697: 12,
    0x5692: 16,
    0x56B3: 16,
    0x56A2: 24,
    0x5691: 28,
    0x56A1: 28,
    0x56A0: 32,
    0x5690: 32,
    0xE212: 16,
    0xE20C: 18,
    0xE20B: 20,
    0xE211: 20,
    0xB080: 12,
}
"""Xe cores by device id: A310, A370M, A380, Pro A40/A50, A530M, A550M, Pro A60, A580, A730M, A750, A770, A770M, Pro B50, B570, B580,
Pro B60, Panther Lake 2x6. Source: ggml-vulkan.cpp:16247-16288."""


def shader_cores(device: DeviceRecord) -> int | None:
    """Number of shader cores as llama.cpp counts them; 0 where it has no count and never splits K, None where the facts don't say.

    Source: ggml-vulkan.cpp:4223-4231.
    """
    for extension, struct, member in (
        ("VK_NV_shader_sm_builtins", _SM, "shaderSMCount"),
        ("VK_AMD_shader_core_properties2", "VkPhysicalDeviceShaderCoreProperties2AMD", "activeComputeUnitCount"),
    ):
        listed = has_extension(device, extension)
        if listed is not False:
            value = lookup(device.properties, struct, member)
            return None if value is None else int(value)
    if device.hardware.vendor_id != Vendor.INTEL:
        return 0
    return INTEL_CORES.get(device.hardware.device_id, 0) if device.hardware.device_id else None
