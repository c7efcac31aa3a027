"""The Vulkan instance and its physical devices."""

from __future__ import annotations

from typing import Any

from vkprobe.worker.vk.core import Arena, check, ffi, instance_function, lib

_API = 1 << 22 | 4 << 12  # newest version that vkprobe knows; 1.1 and later loaders take any


class Instance:
    """A Vulkan instance without surfaces; one per worker, never destroyed (drivers' teardown hangs and crashes).

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
        info = arena.new("VkInstanceCreateInfo", sType=lib.VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, pApplicationInfo=application)
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


_instance: Instance | None = None


def instance() -> Instance:
    """This worker's instance."""
    global _instance
    if _instance is None:
        _instance = Instance()
    return _instance
