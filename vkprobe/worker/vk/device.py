"""A logical device with one compute queue."""

from __future__ import annotations

import ctypes
from typing import Any

from vkprobe.worker.failure import Failure
from vkprobe.worker.vk.core import Arena, check, device_function, ffi, lib
from vkprobe.worker.vk.instance import instance
from vkprobe.worker.vk.structs import new


class Device:
    """A logical device of which only what is asked for is enabled.

    Args:
        index: of the physical device, in the loader's order.
        extensions: names to enable.
        features: {struct: [members]} to enable; VkPhysicalDeviceFeatures for the first version's.

    Raises:
        VkError: vkCreateDevice failed.
        Failure: there is no such device, or no compute queue.
    """

    def __init__(self, index: int, extensions: list[str], features: dict[str, list[str]]) -> None:
        physical = instance().physical_devices()
        if index >= len(physical):
            raise Failure("no-device", f"device {index} is gone: the driver now lists {len(physical)}")
        self.physical = physical[index]
        arena = Arena()
        properties = arena.new("VkPhysicalDeviceProperties")
        lib.vkGetPhysicalDeviceProperties(self.physical, properties)
        limits = properties.limits
        self.timestamp_period_ns = float(limits.timestampPeriod)
        self.storage_alignment = int(limits.minStorageBufferOffsetAlignment)
        self.max_groups = [int(limits.maxComputeWorkGroupCount[i]) for i in range(3)]
        self._memory = arena.new("VkPhysicalDeviceMemoryProperties")
        lib.vkGetPhysicalDeviceMemoryProperties(self.physical, self._memory)
        self._arena = arena
        self.family, self.timestamp_bits = self._compute_family()

        core = arena.new("VkPhysicalDeviceFeatures")
        head: Any = None
        self._features = []  # the chain, alive as long as the device
        for name, members in features.items():
            enabled = core if name == "VkPhysicalDeviceFeatures" else new(name)
            for member in members:
                setattr(enabled, member, 1)
            if enabled is not core:
                enabled.pNext, head = head, ctypes.addressof(enabled)
                self._features.append(enabled)
        queue = arena.new(
            "VkDeviceQueueCreateInfo",
            sType=lib.VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
            queueFamilyIndex=self.family,
            queueCount=1,
            pQueuePriorities=arena.array("float", [1.0]),
        )
        info = arena.new(
            "VkDeviceCreateInfo",
            sType=lib.VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
            pNext=ffi.cast("void *", head or 0),
            queueCreateInfoCount=1,
            pQueueCreateInfos=queue,
            enabledExtensionCount=len(extensions),
            ppEnabledExtensionNames=arena.texts(extensions),
            pEnabledFeatures=core,
        )
        handle = arena.new("VkDevice")
        check(lib.vkCreateDevice(self.physical, info, ffi.NULL, handle), "vkCreateDevice")
        self.handle = handle[0]
        got = arena.new("VkQueue")
        lib.vkGetDeviceQueue(self.handle, self.family, 0, got)
        self.queue = got[0]

    def _compute_family(self) -> tuple[int, int]:
        """Index and timestamp bits of a compute family, one without graphics where there is one (as llama.cpp chooses)."""
        count = self._arena.new("uint32_t")
        lib.vkGetPhysicalDeviceQueueFamilyProperties(self.physical, count, ffi.NULL)
        families = self._arena.array("VkQueueFamilyProperties", max(1, count[0]))
        lib.vkGetPhysicalDeviceQueueFamilyProperties(self.physical, count, families)
        able = [i for i in range(count[0]) if families[i].queueFlags & lib.VK_QUEUE_COMPUTE_BIT and families[i].queueCount]
        if not able:
            raise Failure("unsupported", "the device has no queue family that computes")
        alone = [i for i in able if not families[i].queueFlags & lib.VK_QUEUE_GRAPHICS_BIT]
        chosen = (alone or able)[0]
        return chosen, int(families[chosen].timestampValidBits)

    def function(self, name: str, signature: str) -> Any:
        """A device function by name, cast to `signature`; None where there is none."""
        return device_function(self.handle, name, signature)

    def memory_type(self, allowed: int, wanted: list[int]) -> int | None:
        """The first memory type in `allowed` (bits) that has all flags of an entry of `wanted`, in that order."""
        for flags in wanted:
            for i in range(self._memory.memoryTypeCount):
                if allowed >> i & 1 and self._memory.memoryTypes[i].propertyFlags & flags == flags:
                    return i
        return None


class Buffer:
    """A storage buffer with memory of its own.

    Args:
        use: `device` (device-local), `upload` or `readback` (host-visible, mapped as `view`).

    Raises:
        VkError: out of memory, mostly.
    """

    def __init__(self, device: Device, size: int, use: str) -> None:
        self._device = device
        self.size = size
        arena = Arena()
        info = arena.new(
            "VkBufferCreateInfo",
            sType=lib.VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
            size=size,
            usage=lib.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | lib.VK_BUFFER_USAGE_TRANSFER_SRC_BIT | lib.VK_BUFFER_USAGE_TRANSFER_DST_BIT,
            sharingMode=lib.VK_SHARING_MODE_EXCLUSIVE,
        )
        handle = arena.new("VkBuffer")
        check(lib.vkCreateBuffer(device.handle, info, ffi.NULL, handle), f"vkCreateBuffer of {size} B")
        self.handle = handle[0]
        needs = arena.new("VkMemoryRequirements")
        lib.vkGetBufferMemoryRequirements(device.handle, self.handle, needs)
        coherent = lib.VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | lib.VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
        wanted = {
            "device": [lib.VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0],
            "upload": [coherent],
            "readback": [coherent | lib.VK_MEMORY_PROPERTY_HOST_CACHED_BIT, coherent],
        }[use]
        kind = device.memory_type(needs.memoryTypeBits, wanted)
        if kind is None:
            raise Failure("unsupported", f"the device has no memory type for a {use} buffer")
        allocate = arena.new(
            "VkMemoryAllocateInfo", sType=lib.VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, allocationSize=needs.size, memoryTypeIndex=kind
        )
        memory = arena.new("VkDeviceMemory")
        result = lib.vkAllocateMemory(device.handle, allocate, ffi.NULL, memory)
        if result != 0:
            lib.vkDestroyBuffer(device.handle, self.handle, ffi.NULL)
        check(result, f"vkAllocateMemory of {size} B")
        self._memory = memory[0]
        check(lib.vkBindBufferMemory(device.handle, self.handle, self._memory, 0), "vkBindBufferMemory")
        self.view: Any = None
        if use != "device":
            address = arena.new("void *")
            check(lib.vkMapMemory(device.handle, self._memory, 0, size, 0, address), "vkMapMemory")
            self.view = (ctypes.c_uint8 * size).from_address(int(ffi.cast("uintptr_t", address[0])))

    def destroy(self) -> None:
        """Give the buffer and its memory back; nothing that uses it may be in flight."""
        lib.vkDestroyBuffer(self._device.handle, self.handle, ffi.NULL)
        lib.vkFreeMemory(self._device.handle, self._memory, ffi.NULL)
