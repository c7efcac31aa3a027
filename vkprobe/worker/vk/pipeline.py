"""Compute pipelines: layouts of storage buffers and push constants, specialisation constants, subgroup rules."""

from __future__ import annotations

import time
from typing import Any

from msgspec import Struct

from vkprobe.worker.vk.core import Arena, check, ffi, lib
from vkprobe.worker.vk.device import Device
from vkprobe.worker.vk.executables import CAPTURE_FLAGS, Executables, executables

BINDINGS = 4
PUSH_BYTES = 16
"""Of the ladder's kernels, which share one layout."""


class PipelineOptions(Struct, frozen=True, kw_only=True):
    """Options of a pipeline's creation.

    Attributes:
        constants: (id, value) of specialisation constants, all 32 bits wide.
        subgroup_size: required, None to leave it to the driver.
        full_subgroups: require them.
        disable_robustness: no bounds checks, where VK_EXT_pipeline_robustness is enabled.
        statistics: keep the compiler's statistics; VK_KHR_pipeline_executable_properties is enabled.
    """

    constants: list[tuple[int, int]]
    subgroup_size: int | None = None
    full_subgroups: bool = False
    disable_robustness: bool = False
    statistics: bool = False


class Layout:
    """A descriptor set layout of storage buffers, and a pipeline layout with push constants."""

    def __init__(self, device: Device, count: int, push_bytes: int) -> None:
        self.bindings, self.push_bytes = count, push_bytes
        arena = Arena()
        bindings = arena.array("VkDescriptorSetLayoutBinding", count)
        for i in range(count):
            bindings[i].binding = i
            bindings[i].descriptorType = lib.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
            bindings[i].descriptorCount = 1
            bindings[i].stageFlags = lib.VK_SHADER_STAGE_COMPUTE_BIT
        info = arena.new(
            "VkDescriptorSetLayoutCreateInfo",
            sType=lib.VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
            bindingCount=count,
            pBindings=bindings,
        )
        sets = arena.new("VkDescriptorSetLayout")
        check(lib.vkCreateDescriptorSetLayout(device.handle, info, ffi.NULL, sets), "vkCreateDescriptorSetLayout")
        push = arena.new("VkPushConstantRange", stageFlags=lib.VK_SHADER_STAGE_COMPUTE_BIT, size=push_bytes)
        layout_info = arena.new(
            "VkPipelineLayoutCreateInfo",
            sType=lib.VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
            setLayoutCount=1,
            pSetLayouts=sets,
            pushConstantRangeCount=1 if push_bytes else 0,
            pPushConstantRanges=push,
        )
        layout = arena.new("VkPipelineLayout")
        check(lib.vkCreatePipelineLayout(device.handle, layout_info, ffi.NULL, layout), "vkCreatePipelineLayout")
        self._arena = arena
        self.set_layout = sets
        self.handle = layout[0]


class Pipeline:
    """A compute pipeline; `create_s` is what vkCreateComputePipelines took (s).

    Raises:
        VkError: the driver would not compile it.
    """

    def __init__(self, device: Device, layout: Layout, spirv: bytes, options: PipelineOptions) -> None:
        self._device, self.layout = device, layout
        arena = Arena()
        code = arena.keep(ffi.new("uint32_t[]", len(spirv) // 4))
        ffi.memmove(code, spirv, len(spirv))
        module_info = arena.new(
            "VkShaderModuleCreateInfo", sType=lib.VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, codeSize=len(spirv), pCode=code
        )
        module = arena.new("VkShaderModule")
        check(lib.vkCreateShaderModule(device.handle, module_info, ffi.NULL, module), "vkCreateShaderModule")
        create = self._create_info(arena, layout, module[0], options)
        handle = arena.new("VkPipeline")
        began = time.perf_counter()
        result = lib.vkCreateComputePipelines(device.handle, ffi.NULL, 1, create, ffi.NULL, handle)
        self.create_s = time.perf_counter() - began
        lib.vkDestroyShaderModule(device.handle, module[0], ffi.NULL)
        check(result, "vkCreateComputePipelines")
        self.handle = handle[0]
        self._with_statistics = options.statistics

    @staticmethod
    def _create_info(arena: Arena, layout: Layout, module: Any, options: PipelineOptions) -> Any:
        entries = arena.array("VkSpecializationMapEntry", max(1, len(options.constants)))
        data = arena.array("uint32_t", max(1, len(options.constants)))
        for i, (constant, value) in enumerate(options.constants):
            entries[i].constantID = constant
            entries[i].offset = 4 * i
            entries[i].size = 4
            data[i] = value
        specialization = arena.new(
            "VkSpecializationInfo",
            mapEntryCount=len(options.constants),
            pMapEntries=entries,
            dataSize=4 * len(options.constants),
            pData=data,
        )
        create = arena.new("VkComputePipelineCreateInfo", sType=lib.VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO, layout=layout.handle)
        stage = create.stage
        stage.sType = lib.VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO
        stage.stage = lib.VK_SHADER_STAGE_COMPUTE_BIT
        stage.module = module
        stage.pName = arena.text("main")
        stage.pSpecializationInfo = specialization
        if options.full_subgroups:
            stage.flags = lib.VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT
        if options.subgroup_size is not None:
            stage.pNext = arena.new(
                "VkPipelineShaderStageRequiredSubgroupSizeCreateInfo",
                sType=lib.VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
                requiredSubgroupSize=options.subgroup_size,
            )
        if options.disable_robustness:
            create.pNext = arena.new(
                "VkPipelineRobustnessCreateInfoEXT",
                sType=lib.VK_STRUCTURE_TYPE_PIPELINE_ROBUSTNESS_CREATE_INFO_EXT,
                storageBuffers=lib.VK_PIPELINE_ROBUSTNESS_BUFFER_BEHAVIOR_DISABLED_EXT,
                uniformBuffers=lib.VK_PIPELINE_ROBUSTNESS_BUFFER_BEHAVIOR_DISABLED_EXT,
            )
        if options.statistics:
            create.flags = CAPTURE_FLAGS
        return create

    def executables(self) -> Executables | None:
        """The compiler's statistics of this pipeline; None if the driver has none."""
        return executables(self._device, self.handle) if self._with_statistics else None

    def destroy(self) -> None:
        """Give the pipeline back; nothing that uses it may be in flight."""
        lib.vkDestroyPipeline(self._device.handle, self.handle, ffi.NULL)
