"""What the choice of kernels and tiles needs to know of a device, out of its facts; and what to enable on it."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

from msgspec import Struct

from vkprobe.jobs import OpenRequest
from vkprobe.records import DeviceRecord
from vkprobe.requirements.facts import has_extension, lookup, version_of
from vkprobe.requirements.model import Feature, Requirement
from vkprobe.requirements.promotions import PROVIDERS, base_name, carriers

_COMPUTE_BIT = 0x20
_ARITHMETIC_BIT = 0x4
_CLUSTERED_BIT = 0x40
_Q8_1_LANES = 8
_INDEPENDENT = (0, 1)  # VK_SHADER_FLOAT_CONTROLS_INDEPENDENCE_{32_BIT_ONLY,ALL}
_ROTATION_BYTES = 512 << 20
_ROTATION_BYTES_CPU = 64 << 20  # beyond a processor's last-level cache; filling more would only take time


class Vendor(enum.IntEnum):
    """PCI vendor ids that llama.cpp has rules for."""

    AMD = 0x1002
    APPLE = 0x106B
    INTEL = 0x8086
    NVIDIA = 0x10DE
    QUALCOMM = 0x5143


class Limits(Struct, frozen=True, kw_only=True):
    """The facts behind the choices; sizes in B.

    Attributes:
        required_sizes: subgroup sizes that a compute shader may require, (smallest, largest); None where it may not.
        clusters: subgroups reduce over clusters of the eight invocations that share a q8_1 block.
    """

    vendor: int
    driver_id: str
    coopmat: bool
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

    @property
    def gcn(self) -> bool:
        """AMD GCN as llama.cpp tells it: subgroups of 64 only."""
        return self.vendor == Vendor.AMD and self.subgroup_min == self.subgroup_max == 64

    @property
    def amd_proprietary(self) -> bool:
        """AMD's own driver, not Mesa's."""
        return self.driver_id in ("VK_DRIVER_ID_AMD_PROPRIETARY", "VK_DRIVER_ID_AMD_OPEN_SOURCE")


def _number(device: DeviceRecord, struct: str, member: str, default: int) -> int:
    value = lookup(device.properties, struct, member)
    return default if value is None else int(value)


def _on(device: DeviceRecord, struct: str, member: str) -> bool:
    return bool(lookup(device.features, struct, member))


def limits(device: DeviceRecord) -> Limits:
    """What `device`'s facts say; the specification's guaranteed minimum where they don't."""
    core, controls = "VkPhysicalDeviceProperties", "VkPhysicalDeviceFloatControlsProperties"
    size, sizes = "VkPhysicalDeviceSubgroupProperties", "VkPhysicalDeviceSubgroupSizeControlProperties"
    subgroup = _number(device, size, "subgroupSize", 1)
    low, high = _number(device, sizes, "minSubgroupSize", subgroup), _number(device, sizes, "maxSubgroupSize", subgroup)
    control = _on(device, "VkPhysicalDeviceSubgroupSizeControlFeatures", "subgroupSizeControl")
    stages = _number(device, sizes, "requiredSubgroupSizeStages", 0)
    # Without independence, modes must be equal for all widths, and only f16's would be set.
    rounding = lookup(device.properties, controls, "roundingModeIndependence") in _INDEPENDENT
    denormals = lookup(device.properties, controls, "denormBehaviorIndependence") in _INDEPENDENT
    compute = bool(_number(device, size, "supportedStages", 0) & _COMPUTE_BIT)
    operations = _number(device, size, "supportedOperations", 0) if compute else 0
    return Limits(
        vendor=device.hardware.vendor_id,
        driver_id=device.driver.id or "",
        coopmat=bool(has_extension(device, "VK_KHR_cooperative_matrix")),
        subgroup=subgroup,
        subgroup_min=low,
        subgroup_max=high,
        required_sizes=(low, high) if control and stages & _COMPUTE_BIT else None,
        full_subgroups=_on(device, "VkPhysicalDeviceSubgroupSizeControlFeatures", "computeFullSubgroups"),
        arithmetic=bool(operations & _ARITHMETIC_BIT),
        clusters=bool(operations & _CLUSTERED_BIT) and low >= _Q8_1_LANES,
        shared_memory=_number(device, core, "limits.maxComputeSharedMemorySize", 16384),
        workgroup_invocations=_number(device, core, "limits.maxComputeWorkGroupInvocations", 128),
        max_groups_x=_max_groups_x(device),
        rounding_f16=rounding and bool(lookup(device.properties, controls, "shaderRoundingModeRTEFloat16")),
        denormals_f16=denormals and bool(lookup(device.properties, controls, "shaderDenormPreserveFloat16")),
    )


def _max_groups_x(device: DeviceRecord) -> int:
    counts = lookup(device.properties, "VkPhysicalDeviceProperties", "limits.maxComputeWorkGroupCount")
    return int(counts[0]) if counts else 65535


def rotation_bytes(device: DeviceRecord) -> int:
    """How much the weights of a cold cell rotate over: min(512 MiB, a quarter of the largest device-local heap)."""
    heaps = [h.bytes for h in device.heaps or [] if h.device_local]
    wanted = _ROTATION_BYTES_CPU if device.type == "cpu" else _ROTATION_BYTES
    return min([wanted, *([max(heaps) // 4] if heaps else [])])


def memory_budget(device: DeviceRecord) -> int:
    """How much the buffers of cells that are prepared together may take (B): half of the largest device-local heap, the rotation apart."""
    heaps = [h.bytes for h in device.heaps or [] if h.device_local]
    return max(max(heaps) // 2 - rotation_bytes(device), 0) if heaps else _ROTATION_BYTES


_SWITCH = ("VkPhysicalDevicePipelineRobustnessFeatures", "pipelineRobustness")


def switches_bounds_checks(device: DeviceRecord) -> bool:
    """Whether a pipeline can leave out the bounds checks of robustBufferAccess."""
    return any(device.features.get(struct, {}).get(member) is True for struct, member in carriers(*_SWITCH))


def open_request(device: DeviceRecord, requirements: Iterable[Requirement]) -> OpenRequest:
    """What to enable so that kernels of these requirements run as llama.cpp's do, and nothing else."""
    enabled = _Enabled(device)
    for requirement in requirements:
        for condition in requirement.conditions:
            if isinstance(condition, Feature):
                enabled.add(condition.alternatives)
    for member in ("subgroupSizeControl", "computeFullSubgroups"):
        enabled.add((("VkPhysicalDeviceSubgroupSizeControlFeatures", member),))
    enabled.add((("VkPhysicalDeviceFaultFeaturesEXT", "deviceFault"),))
    enabled.add((("VkPhysicalDeviceFeatures", "robustBufferAccess"),))
    if "cooperativeMatrix" in enabled.features.get("VkPhysicalDeviceCooperativeMatrixFeaturesKHR", ()):
        enabled.add((("VkPhysicalDeviceCooperativeMatrixFeaturesKHR", "cooperativeMatrixRobustBufferAccess"),))
    return OpenRequest(
        index=int(device.device.rpartition("/")[2]),
        robustness=enabled.add((_SWITCH,)),
        statistics=enabled.add((("VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR", "pipelineExecutableInfo"),)),
        extensions=sorted(enabled.extensions),
        features={struct: sorted(members) for struct, members in enabled.features.items()},
        rotation_bytes=rotation_bytes(device),
    )


class _Enabled:
    """Features to enable, and the extensions that they come with."""

    def __init__(self, device: DeviceRecord) -> None:
        self._device = device
        self._version = version_of(device.driver.api) or (1, 0)
        self.features: dict[str, set[str]] = {}
        self.extensions: set[str] = set()

    def add(self, alternatives: Sequence[tuple[str, str]]) -> bool:
        """Enable one of the alternatives that the device has on; False where it has none.

        The structs of core versions come first: those that were promoted into them may not stand beside them in one chain.
        """
        on = [
            (struct, member)
            for alternative in alternatives
            for struct, member in carriers(*alternative)
            if self._device.features.get(struct, {}).get(member) is True
        ]
        if not on:
            return False
        struct, member = min(on, key=lambda found: not found[0].startswith("VkPhysicalDeviceVulkan1"))
        self.features.setdefault(struct, set()).add(member)
        provider = PROVIDERS.get(base_name(struct))
        if provider is not None and provider.extension and (provider.core is None or self._version < provider.core):
            self.extensions.add(provider.extension)
        return True
