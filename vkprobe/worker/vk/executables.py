"""VK_KHR_pipeline_executable_properties: the statistics and the internal representations from a driver's compiler."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from vkprobe.worker.vk.core import Arena, check, ffi, lib
from vkprobe.worker.vk.device import Device

CAPTURE_FLAGS = lib.VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR | lib.VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR

_PROPERTIES_FN = "VkResult (*)(VkDevice, const VkPipelineInfoKHR *, uint32_t *, VkPipelineExecutablePropertiesKHR *)"
_STATISTICS_FN = "VkResult (*)(VkDevice, const VkPipelineExecutableInfoKHR *, uint32_t *, VkPipelineExecutableStatisticKHR *)"
_REPRESENTATIONS_FN = (
    "VkResult (*)(VkDevice, const VkPipelineExecutableInfoKHR *, uint32_t *, VkPipelineExecutableInternalRepresentationKHR *)"
)


class Executables(Struct, frozen=True, kw_only=True):
    """Statistics and texts of the pipeline's last executable (a compute pipeline has one; ANV lists one per dispatch width).

    Attributes:
        subgroup_size: what the driver says the executable runs with; None for 0.
        statistics: every name and value, as the driver gives them.
        texts: {name: text} of the internal representations that are text.
    """

    subgroup_size: int | None
    statistics: dict[str, Any]
    texts: dict[str, str]


def _list(arena: Arena, ctype: str, structure: int, call: Any, name: str) -> Any:
    count = arena.new("uint32_t")
    check(call(count, ffi.NULL), name)
    items = arena.array(ctype, max(1, count[0]))
    for i in range(count[0]):
        items[i].sType = structure
    if count[0]:
        check(call(count, items), name)
    return [items[i] for i in range(count[0])]


def _text(field: Any) -> str:
    return str(ffi.string(field).decode(errors="replace"))


def executables(device: Device, pipeline: Any) -> Executables | None:
    """Statistics and texts of `pipeline`, which was created with CAPTURE_FLAGS; None where the driver lists no executable.

    Raises:
        VkError: a query failed.
    """
    properties = device.function("vkGetPipelineExecutablePropertiesKHR", _PROPERTIES_FN)
    statistics = device.function("vkGetPipelineExecutableStatisticsKHR", _STATISTICS_FN)
    representations = device.function("vkGetPipelineExecutableInternalRepresentationsKHR", _REPRESENTATIONS_FN)
    arena = Arena()
    info = arena.new("VkPipelineInfoKHR", sType=lib.VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, pipeline=pipeline)
    listed = _list(
        arena,
        "VkPipelineExecutablePropertiesKHR",
        lib.VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR,
        lambda n, p: properties(device.handle, info, n, p),
        "vkGetPipelineExecutablePropertiesKHR",
    )
    if not listed:
        return None
    which = arena.new(
        "VkPipelineExecutableInfoKHR",
        sType=lib.VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
        pipeline=pipeline,
        executableIndex=len(listed) - 1,
    )
    items = _list(
        arena,
        "VkPipelineExecutableStatisticKHR",
        lib.VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR,
        lambda n, p: statistics(device.handle, which, n, p),
        "vkGetPipelineExecutableStatisticsKHR",
    )
    values: dict[str, Any] = {}
    for item in items:
        member = {0: "b32", 1: "i64", 2: "u64", 3: "f64"}.get(int(item.format), "u64")
        value = getattr(item.value, member)
        values[_text(item.name)] = bool(value) if member == "b32" else value
    return Executables(
        subgroup_size=int(listed[-1].subgroupSize) or None, statistics=values, texts=_texts(device, arena, which, representations)
    )


def _texts(device: Device, arena: Arena, which: Any, call: Any) -> dict[str, str]:
    def representations(count: Any, items: Any) -> Any:
        return call(device.handle, which, count, items)

    items = _list(
        arena,
        "VkPipelineExecutableInternalRepresentationKHR",
        lib.VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR,
        representations,
        "vkGetPipelineExecutableInternalRepresentationsKHR",
    )
    if not items:
        return {}
    for item in items:  # sizes are known now; the second call fills the buffers
        item.pData = arena.keep(ffi.new("char[]", max(1, item.dataSize)))
    count = arena.new("uint32_t")
    count[0] = len(items)
    array = arena.array("VkPipelineExecutableInternalRepresentationKHR", len(items))
    for i, item in enumerate(items):
        array[i] = item
    check(representations(count, array), "vkGetPipelineExecutableInternalRepresentationsKHR")
    texts = {}
    for i in range(count[0]):
        if array[i].isText:
            data = ffi.buffer(ffi.cast("char *", array[i].pData), array[i].dataSize)[:]
            texts[_text(array[i].name)] = data.rstrip(b"\0").decode(errors="replace")
    return texts
