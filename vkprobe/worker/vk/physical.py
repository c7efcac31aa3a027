"""A physical device: what it says of itself, asked one struct at a time so that a driver's crash has a name."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from vkprobe.dependency import versions
from vkprobe.worker.vk import registry, structs
from vkprobe.worker.vk.core import Arena, VkError, check, ffi, lib
from vkprobe.worker.vk.instance import Instance

_INCOMPLETE = 5
_1_1 = 1 << 22 | 1 << 12
Ask = Callable[[str], bool]
"""Called with the name of each query before it is made; returns False to leave the query out."""


def always(query: str) -> bool:
    """Leaves no query out."""
    del query
    return True


def pointer(ctype: str, instance: Any) -> Any:
    """The address of a ctypes object as a cffi pointer."""
    return ffi.cast(ctype, ctypes.addressof(instance))


class PhysicalDevice:
    """One physical device of an instance.

    Attributes:
        handle: the VkPhysicalDevice.
        core: VkPhysicalDeviceProperties as plain data, `limits` and `sparseProperties` nested.
        api: the device's packed API version.
    """

    def __init__(self, instance: Instance, handle: Any) -> None:
        self._instance = instance
        self.handle = handle
        filled = structs.new("VkPhysicalDeviceProperties")
        lib.vkGetPhysicalDeviceProperties(handle, pointer("VkPhysicalDeviceProperties *", filled))
        self.core = structs.plain("VkPhysicalDeviceProperties", filled)
        self.api = int(self.core["apiVersion"])

    @cached_property
    def extensions(self) -> dict[str, int]:
        """Device extensions and their versions, by name; layers' own are not among them."""
        arena, count = Arena(), ffi.new("uint32_t *")
        while True:
            check(lib.vkEnumerateDeviceExtensionProperties(self.handle, ffi.NULL, count, ffi.NULL), "vkEnumerateDeviceExtensionProperties")
            rows = arena.array("VkExtensionProperties", count[0])
            result = lib.vkEnumerateDeviceExtensionProperties(self.handle, ffi.NULL, count, rows)
            if result != _INCOMPLETE:
                check(result, "vkEnumerateDeviceExtensionProperties")
                return {ffi.string(r.extensionName).decode(): int(r.specVersion) for r in list(rows)[: count[0]]}

    @cached_property
    def names(self) -> set[str]:
        """The core versions and extensions that this device has; what a struct's condition is held against."""
        return versions(self.api) | set(self.extensions)

    def _query(self, name: str) -> Any:
        """`vkGetPhysicalDevice{name}2`: core from 1.1 on, else the KHR extension's; None where the device has neither."""
        if self.api >= _1_1:
            return getattr(lib, f"vkGetPhysicalDevice{name}2")
        if "VK_KHR_get_physical_device_properties2" not in self._instance.extensions:
            return None
        return self._instance.function(f"vkGetPhysicalDevice{name}2KHR", f"PFN_vkGetPhysicalDevice{name}2KHR")

    def features(self, ask: Ask = always) -> dict[str, dict[str, Any]]:
        """Every allowed feature struct, {struct: {member: value}}, VkPhysicalDeviceFeatures first."""
        core = structs.new("VkPhysicalDeviceFeatures")
        by_struct = {}
        if ask("VkPhysicalDeviceFeatures"):
            lib.vkGetPhysicalDeviceFeatures(self.handle, pointer("VkPhysicalDeviceFeatures *", core))
            by_struct["VkPhysicalDeviceFeatures"] = structs.plain("VkPhysicalDeviceFeatures", core)
        by_struct.update(self._chained("Features", structs.features(), ask))
        return by_struct

    def properties(self, ask: Ask = always) -> dict[str, dict[str, Any]]:
        """Every allowed property struct, {struct: {member: value}}, VkPhysicalDeviceProperties first."""
        return {"VkPhysicalDeviceProperties": self.core, **dict(self._chained("Properties", structs.properties(), ask))}

    def _chained(self, kind: str, layouts: dict[str, structs.Layout], ask: Ask) -> Iterator[tuple[str, dict[str, Any]]]:
        query = self._query(kind)
        if query is None:
            return
        root = ffi.new(f"VkPhysicalDevice{kind}2 *")
        root.sType = getattr(lib, f"VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_{kind.upper()}_2")
        for name in structs.allowed(layouts, self.names):
            if not ask(name):
                continue
            filled = structs.new(name)
            root.pNext = pointer("void *", filled)
            query(self.handle, root)
            arrays = {}
            for member in structs.pointers(name):
                # The first call gave the counts; the second fills the arrays.
                array = arrays[member.name] = structs.array_of(member, getattr(filled, str(member.length)))
                setattr(filled, member.name, ctypes.addressof(array))
            if arrays:
                query(self.handle, root)
            yield name, structs.plain(name, filled, arrays)

    def queues(self) -> list[dict[str, Any]]:
        """Queue families: flags by name, count, valid timestamp bits (0 to 64)."""
        count = ffi.new("uint32_t *")
        lib.vkGetPhysicalDeviceQueueFamilyProperties(self.handle, count, ffi.NULL)
        rows = ffi.new("VkQueueFamilyProperties[]", count[0])
        lib.vkGetPhysicalDeviceQueueFamilyProperties(self.handle, count, rows)
        return [
            {"flags": queue_flags(int(r.queueFlags)), "count": int(r.queueCount), "timestamp_bits": int(r.timestampValidBits)}
            for r in list(rows)[: count[0]]
        ]

    def heaps(self) -> list[dict[str, Any]]:
        """Memory heaps; a driver may have none."""
        memory = ffi.new("VkPhysicalDeviceMemoryProperties *")
        lib.vkGetPhysicalDeviceMemoryProperties(self.handle, memory)
        return [
            {"bytes": int(h.size), "device_local": bool(h.flags & lib.VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)}
            for h in list(memory.memoryHeaps)[: memory.memoryHeapCount]
        ]

    def rows(self, function: str, row: str, *, info: Any = None) -> list[Any] | None:
        """The rows of an array query of this device: `function(device, [info,] count, rows)`; None where the function is missing.

        Every element's sType is set, and VK_INCOMPLETE (the number grew in between) is answered by asking again.

        Raises:
            VkError: the query failed.
        """
        signature = "VkResult (*)(VkPhysicalDevice, " + ("void *, " if info is not None else "") + "uint32_t *, void *)"
        call = self._instance.function(function, signature)
        if call is None:
            return None
        first = (self.handle,) if info is None else (self.handle, pointer("void *", info))
        count = ffi.new("uint32_t *")
        while True:
            check(call(*first, count, ffi.NULL), function)
            if count[0] == 0:
                return []
            elements = structs.new(row, int(count[0]))
            result = call(*first, count, pointer("void *", elements))
            if result == 0:
                return list(elements)[: count[0]]
            if result != _INCOMPLETE:
                raise VkError(function, result)


def queue_flags(flags: int) -> list[str]:
    """Names of VkQueueFlagBits without `VK_QUEUE_` and `_BIT`; a bit that has no name as hexadecimal.

    >>> queue_flags(0x80000022)
    ['COMPUTE', 'VIDEO_DECODE_KHR', '0x80000000']
    """
    names = structs.numbered(registry.QUEUE_FLAGS)
    bits = [1 << i for i in range(32) if flags >> i & 1]
    return [names[bit].replace("VK_QUEUE_", "").replace("_BIT", "") if bit in names else hex(bit) for bit in bits]
