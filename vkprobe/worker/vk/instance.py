"""The Vulkan instance and its physical devices."""

from __future__ import annotations

from typing import Any

from vkprobe.worker.vk.core import Arena, check, ffi, instance_function, lib

_PROPERTIES2 = "VK_KHR_get_physical_device_properties2"  # how a device of API 1.0 is asked for anything newer
_API = 1 << 22 | 4 << 12  # newest version that vkprobe knows; 1.1 and later loaders take any


class Instance:
    """A Vulkan instance without surfaces; one per worker, never destroyed (drivers' teardown hangs and crashes).

    Attributes:
        handle: the VkInstance.
        extensions: names of the instance extensions that are enabled.

    Raises:
        VkError: vkCreateInstance or the enumeration failed.
    """

    def __init__(self) -> None:
        arena = self._arena = Arena()
        application = arena.new(
            "VkApplicationInfo",
            sType=lib.VK_STRUCTURE_TYPE_APPLICATION_INFO,
            pApplicationName=arena.text("vkprobe"),
            pEngineName=arena.text("vkprobe"),
            apiVersion=_API,
        )
        self.extensions = [name for name in (_PROPERTIES2,) if name in _offered_extensions()]
        info = arena.new(
            "VkInstanceCreateInfo",
            sType=lib.VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
            pApplicationInfo=application,
            enabledExtensionCount=len(self.extensions),
            ppEnabledExtensionNames=arena.texts(self.extensions),
        )
        handle = arena.new("VkInstance")
        check(lib.vkCreateInstance(info, ffi.NULL, handle), "vkCreateInstance")
        self.handle = handle[0]

    def function(self, name: str, signature: str) -> Any:
        """An instance-level function by name, cast to the cffi pointer type `signature`; None where there is none."""
        return instance_function(self.handle, name, signature)

    def physical_devices(self) -> list[Any]:
        """Handles of the physical devices, in the loader's order."""
        count = self._arena.new("uint32_t")
        check(lib.vkEnumeratePhysicalDevices(self.handle, count, ffi.NULL), "vkEnumeratePhysicalDevices")
        devices = self._arena.array("VkPhysicalDevice", count[0])
        if count[0]:
            check(lib.vkEnumeratePhysicalDevices(self.handle, count, devices), "vkEnumeratePhysicalDevices")
        return list(devices)[: count[0]]


def _offered_extensions() -> set[str]:
    count = ffi.new("uint32_t *")
    check(lib.vkEnumerateInstanceExtensionProperties(ffi.NULL, count, ffi.NULL), "vkEnumerateInstanceExtensionProperties")
    rows = ffi.new("VkExtensionProperties[]", count[0])
    check(lib.vkEnumerateInstanceExtensionProperties(ffi.NULL, count, rows), "vkEnumerateInstanceExtensionProperties")
    return {ffi.string(r.extensionName).decode() for r in list(rows)[: count[0]]}


_instance: Instance | None = None


def instance() -> Instance:
    """This worker's instance."""
    global _instance
    if _instance is None:
        _instance = Instance()
    return _instance
