"""Why the Vulkan loader dropped a driver: its library loaded by hand, step by step, in a process of its own.

The loader writes its reasons only to its log; this returns the dynamic linker's own words.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from vkprobe.protocol import Diagnose

_NEWEST_INTERFACE = 7
"""Version of the loader-driver interface that is offered. Source: Vulkan-Loader docs/LoaderDriverInterface.md."""


def diagnose(request: Diagnose, progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """How far a driver's library comes: loaded, entry point found, negotiated, vkCreateInstance behind it.

    Returns `loaded`, `error` (dlopen's words), `entry` (the exported function, None without one), `negotiated` (a VkResult, None
    where it isn't offered) and `create_instance` (whether the entry point gives it).

    Source: Vulkan-Loader loader/loader.c (loader_scanned_icd_add).
    """
    answer: dict[str, Any] = {"loaded": False, "error": None, "entry": None, "negotiated": None, "create_instance": False}
    try:
        driver = ctypes.CDLL(request.library, mode=ctypes.DEFAULT_MODE)
    except OSError as error:
        answer["error"] = str(error)
        return answer
    answer["loaded"] = True
    negotiate = getattr(driver, "vk_icdNegotiateLoaderICDInterfaceVersion", None)
    if negotiate is not None:
        version = ctypes.c_uint32(_NEWEST_INTERFACE)
        answer["negotiated"] = int(negotiate(ctypes.byref(version)))
    for name in ("vk_icdGetInstanceProcAddr", "vkGetInstanceProcAddr"):
        entry = getattr(driver, name, None)
        if entry is not None:
            entry.restype = ctypes.c_void_p
            entry.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
            answer["entry"] = name
            answer["create_instance"] = bool(entry(None, b"vkCreateInstance"))
            break
    return answer
