"""Calls, results and memory: what every Vulkan object of this layer is built from.

The `vulkan` package's constructors lose nested temporaries and leave `sType` unset in arrays, so objects are made with
its raw `ffi`, in an Arena that keeps all of them alive, and functions are called through `lib` or their own pointers.
"""

from __future__ import annotations

from typing import Any

from vkprobe.identity import version_string
from vkprobe.worker.failure import Failure

try:
    from vulkan import ffi, lib
except OSError as error:
    # The package opens libvulkan.so.1 when imported.
    raise Failure("no-loader", f"no Vulkan loader (libvulkan.so.1): {error}") from None

__all__ = ["Arena", "VkError", "check", "device_function", "ffi", "instance_function", "lib", "result_name", "version_string"]

_LOST = -4
_names: dict[int, str] = {}


def result_name(code: int) -> str:
    """The VkResult's name.

    >>> result_name(-4)
    'VK_ERROR_DEVICE_LOST'
    """
    if not _names:
        for name in dir(lib):
            if name.startswith(("VK_ERROR_", "VK_SUCCESS", "VK_NOT_READY", "VK_TIMEOUT", "VK_INCOMPLETE", "VK_EVENT_")):
                _names.setdefault(int(getattr(lib, name)), name)
    return _names.get(code, f"VkResult {code}")


class VkError(Failure):
    """A Vulkan call that returned an error; `device-lost` is kept apart."""

    def __init__(self, call: str, result: int) -> None:
        super().__init__("device-lost" if result == _LOST else "vk", f"{call} gave {result_name(result)}", {"call": call, "result": result})
        self.result = result


def check(result: int, call: str) -> None:
    """Raise VkError unless `result` is VK_SUCCESS.

    Raises:
        VkError: any other result, positive ones too.
    """
    if result != 0:
        raise VkError(call, result)


class Arena:
    """Makes C objects and keeps each alive as long as the arena lives."""

    def __init__(self) -> None:
        self._kept: list[Any] = []

    def keep(self, thing: Any) -> Any:
        """Hold on to `thing`."""
        self._kept.append(thing)
        return thing

    def new(self, ctype: str, **members: Any) -> Any:
        """A pointer to one zeroed `ctype` with these members set."""
        pointer = self.keep(ffi.new(f"{ctype} *"))
        for name, value in members.items():
            setattr(pointer, name, value)
        return pointer

    def array(self, ctype: str, values: Any) -> Any:
        """An array of `ctype`: from a list of values, or zeroed from a count."""
        return self.keep(ffi.new(f"{ctype}[]", values))

    def text(self, value: str) -> Any:
        """A C string."""
        return self.keep(ffi.new("char[]", value.encode()))

    def texts(self, values: list[str]) -> Any:
        """An array of C strings."""
        return self.array("char *", [self.text(v) for v in values])


def instance_function(instance: Any, name: str, signature: str) -> Any:
    """A function by name, cast to `signature` (a cffi function pointer type); None where the instance has none."""
    pointer = lib.vkGetInstanceProcAddr(instance, name.encode())
    return ffi.cast(signature, pointer) if pointer else None


def device_function(device: Any, name: str, signature: str) -> Any:
    """A device function by name, cast to `signature`; None where the device has none."""
    pointer = lib.vkGetDeviceProcAddr(device, name.encode())
    return ffi.cast(signature, pointer) if pointer else None
