"""The features and extensions to enable when a device is opened, and how much of its memory to use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vkprobe.ops.plan import BOUNDS_CHECK_SWITCH
from vkprobe.protocol import Open
from vkprobe.records import DeviceRecord
from vkprobe.requirements.facts import version_of
from vkprobe.requirements.model import Feature, Requirement
from vkprobe.requirements.promotions import PROVIDERS, base_name, carriers

_ROTATION_BYTES = 512 << 20
_ROTATION_BYTES_CPU = 64 << 20  # beyond a processor's last-level cache; filling more would only take time


def rotation_bytes(device: DeviceRecord) -> int:
    """Bytes that the weights of a cold cell rotate over: min(512 MiB, a quarter of the largest device-local heap)."""
    heaps = [h.bytes for h in device.heaps or [] if h.device_local]
    wanted = _ROTATION_BYTES_CPU if device.type == "cpu" else _ROTATION_BYTES
    return min([wanted, *([max(heaps) // 4] if heaps else [])])


def memory_budget(device: DeviceRecord) -> int:
    """Bytes that cells prepared together may take: half of the largest device-local heap, less the rotation."""
    heaps = [h.bytes for h in device.heaps or [] if h.device_local]
    return max(max(heaps) // 2 - rotation_bytes(device), 0) if heaps else _ROTATION_BYTES


def open_request(device: DeviceRecord, requirements: Iterable[Requirement]) -> Open:
    """Enable what kernels with these requirements need to run as llama.cpp's do, and nothing else."""
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
    return Open(
        index=device.index,
        robustness=enabled.add((BOUNDS_CHECK_SWITCH,)),
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
        struct, member = min(on, key=lambda pair: not pair[0].startswith("VkPhysicalDeviceVulkan1"))
        self.features.setdefault(struct, set()).add(member)
        provider = PROVIDERS.get(base_name(struct))
        if provider is not None and provider.extension and (provider.core is None or self._version < provider.core):
            self.extensions.add(provider.extension)
        return True
