"""Recording, submitting and timing commands on the device's queue."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from vkprobe.worker.failure import Failure
from vkprobe.worker.vk.core import Arena, VkError, check, ffi, lib
from vkprobe.worker.vk.device import Buffer, Device
from vkprobe.worker.vk.pipeline import Layout, Pipeline


class Sample(Struct, frozen=True):
    """One timed submit: `gpu_s` between its timestamps (None where the device has none), `wall_s` from submit to signalled fence."""

    gpu_s: float | None
    wall_s: float


class DescriptorSets:
    """Descriptor sets that each bind as many buffer ranges (buffer, offset, size) as the layout has bindings."""

    def __init__(self, device: Device, layout: Layout, ranges: list[list[tuple[Buffer, int, int]]]) -> None:
        self._device = device
        arena = Arena()
        count, bindings = len(ranges), layout.bindings
        size = arena.new("VkDescriptorPoolSize", type=lib.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, descriptorCount=bindings * count)
        info = arena.new(
            "VkDescriptorPoolCreateInfo",
            sType=lib.VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
            maxSets=count,
            poolSizeCount=1,
            pPoolSizes=size,
        )
        pool = arena.new("VkDescriptorPool")
        check(lib.vkCreateDescriptorPool(device.handle, info, ffi.NULL, pool), "vkCreateDescriptorPool")
        self._pool = pool[0]
        allocate = arena.new(
            "VkDescriptorSetAllocateInfo",
            sType=lib.VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
            descriptorPool=self._pool,
            descriptorSetCount=count,
            pSetLayouts=arena.array("VkDescriptorSetLayout", [layout.set_layout[0]] * count),
        )
        sets = arena.array("VkDescriptorSet", count)
        check(lib.vkAllocateDescriptorSets(device.handle, allocate, sets), "vkAllocateDescriptorSets")
        infos = arena.array("VkDescriptorBufferInfo", bindings * count)
        writes = arena.array("VkWriteDescriptorSet", bindings * count)
        for i, bound in enumerate(ranges):
            for j, (buffer, offset, length) in enumerate(bound):
                at = bindings * i + j
                infos[at].buffer = buffer.handle
                infos[at].offset = offset
                infos[at].range = length
                write = writes[at]
                write.sType = lib.VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET
                write.dstSet = sets[i]
                write.dstBinding = j
                write.descriptorCount = 1
                write.descriptorType = lib.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                write.pBufferInfo = infos + at
        lib.vkUpdateDescriptorSets(device.handle, bindings * count, writes, 0, ffi.NULL)
        self._arena = arena
        self.pointers = [sets + i for i in range(count)]

    def destroy(self) -> None:
        """Give the sets back; nothing that uses them may be in flight."""
        lib.vkDestroyDescriptorPool(self._device.handle, self._pool, ffi.NULL)


class Dispatch(NamedTuple):
    """A pipeline on descriptor sets, the next one each time it is recorded; push constants as words, no more than the layout has."""

    pipeline: Pipeline
    sets: DescriptorSets
    push: Sequence[int]
    groups: tuple[int, int, int]


class Transfer(NamedTuple):
    """A copy between buffers, from and to the next (source, target) offsets each time it is recorded."""

    source: Buffer
    target: Buffer
    offsets: Sequence[tuple[int, int]]
    bytes: int


class Commands:
    """The queue's command pool, its fence and its two timestamps."""

    def __init__(self, device: Device) -> None:
        self._device = device
        arena = self._arena = Arena()
        info = arena.new(
            "VkCommandPoolCreateInfo",
            sType=lib.VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
            flags=lib.VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
            queueFamilyIndex=device.family,
        )
        pool = arena.new("VkCommandPool")
        check(lib.vkCreateCommandPool(device.handle, info, ffi.NULL, pool), "vkCreateCommandPool")
        self._pool = pool[0]
        fence = arena.new("VkFence")
        fence_info = arena.new("VkFenceCreateInfo", sType=lib.VK_STRUCTURE_TYPE_FENCE_CREATE_INFO)
        check(lib.vkCreateFence(device.handle, fence_info, ffi.NULL, fence), "vkCreateFence")
        self._fence = fence
        period = device.timestamp_period_ns
        self.has_timestamps = device.timestamp_bits > 0 and math.isfinite(period) and period > 0
        self._mask = (1 << device.timestamp_bits) - 1
        self._queries: Any = None
        if self.has_timestamps:
            query_info = arena.new(
                "VkQueryPoolCreateInfo",
                sType=lib.VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                queryType=lib.VK_QUERY_TYPE_TIMESTAMP,
                queryCount=2,
            )
            queries = arena.new("VkQueryPool")
            check(lib.vkCreateQueryPool(device.handle, query_info, ffi.NULL, queries), "vkCreateQueryPool")
            self._queries = queries[0]
        self._ticks = arena.array("uint64_t", 2)
        self._begin = arena.new("VkCommandBufferBeginInfo", sType=lib.VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO)
        access = (
            lib.VK_ACCESS_SHADER_READ_BIT
            | lib.VK_ACCESS_SHADER_WRITE_BIT
            | lib.VK_ACCESS_TRANSFER_READ_BIT
            | lib.VK_ACCESS_TRANSFER_WRITE_BIT
        )
        self._barrier = arena.new("VkMemoryBarrier", sType=lib.VK_STRUCTURE_TYPE_MEMORY_BARRIER, srcAccessMask=access, dstAccessMask=access)
        host = lib.VK_ACCESS_HOST_READ_BIT | lib.VK_ACCESS_HOST_WRITE_BIT
        self._from_host = arena.new(
            "VkMemoryBarrier", sType=lib.VK_STRUCTURE_TYPE_MEMORY_BARRIER, srcAccessMask=host | access, dstAccessMask=host | access
        )
        self._once = self._allocate()
        self._submit = arena.new("VkSubmitInfo", sType=lib.VK_STRUCTURE_TYPE_SUBMIT_INFO, commandBufferCount=1)

    def _allocate(self) -> Any:
        arena = Arena()
        info = arena.new(
            "VkCommandBufferAllocateInfo",
            sType=lib.VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
            commandPool=self._pool,
            level=lib.VK_COMMAND_BUFFER_LEVEL_PRIMARY,
            commandBufferCount=1,
        )
        handle = arena.new("VkCommandBuffer")
        check(lib.vkAllocateCommandBuffers(self._device.handle, info, handle), "vkAllocateCommandBuffers")
        return handle

    def _memory_barrier(self, commands: Any, barrier: Any, extra: int = 0) -> None:
        stages = lib.VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | lib.VK_PIPELINE_STAGE_TRANSFER_BIT | extra
        lib.vkCmdPipelineBarrier(commands, stages, stages, 0, 1, barrier, 0, ffi.NULL, 0, ffi.NULL)

    def record(self, steps: Sequence[Dispatch | Transfer], count: int) -> Any:
        """A command buffer that does `steps` in turn `count` times between two timestamps, a barrier after each."""
        handle = self._allocate()
        commands = handle[0]
        check(lib.vkBeginCommandBuffer(commands, self._begin), "vkBeginCommandBuffer")
        if self._queries is not None:
            lib.vkCmdResetQueryPool(commands, self._queries, 0, 2)
        self._memory_barrier(commands, self._barrier)
        if self._queries is not None:
            lib.vkCmdWriteTimestamp(commands, lib.VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, self._queries, 0)
        recorders = [self._dispatcher(s, alone=len(steps) == 1) if isinstance(s, Dispatch) else self._copier(s) for s in steps]
        for i in range(count):
            for recorder in recorders:
                recorder(commands, i)
                self._memory_barrier(commands, self._barrier)
        if self._queries is not None:
            lib.vkCmdWriteTimestamp(commands, lib.VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, self._queries, 1)
        check(lib.vkEndCommandBuffer(commands), "vkEndCommandBuffer")
        return handle

    def _dispatcher(self, step: Dispatch, *, alone: bool) -> Callable[[Any, int], None]:
        """Records a dispatch; what stays bound from the one before is not bound again."""
        layout_object = step.pipeline.layout
        push_bytes = layout_object.push_bytes
        words = ffi.new("uint32_t[]", [*step.push, *([0] * (push_bytes // 4 - len(step.push)))])
        layout, point, pointers = layout_object.handle, lib.VK_PIPELINE_BIND_POINT_COMPUTE, step.sets.pointers
        bind, dispatch, total = lib.vkCmdBindDescriptorSets, lib.vkCmdDispatch, len(pointers)

        def recorder(commands: Any, i: int) -> None:
            if i == 0 or not alone:
                lib.vkCmdBindPipeline(commands, point, step.pipeline.handle)
                if push_bytes:
                    lib.vkCmdPushConstants(commands, layout, lib.VK_SHADER_STAGE_COMPUTE_BIT, 0, push_bytes, words)
            if i == 0 or total > 1 or not alone:
                bind(commands, point, layout, 0, 1, pointers[i % total], 0, ffi.NULL)
            dispatch(commands, *step.groups)

        return recorder

    def _copier(self, step: Transfer) -> Callable[[Any, int], None]:
        """Records a copy."""
        regions = ffi.new("VkBufferCopy[]", len(step.offsets))
        for i, (source, target) in enumerate(step.offsets):
            regions[i].srcOffset, regions[i].dstOffset, regions[i].size = source, target, step.bytes

        def recorder(commands: Any, i: int) -> None:
            lib.vkCmdCopyBuffer(commands, step.source.handle, step.target.handle, 1, regions + i % len(step.offsets))

        return recorder

    def free(self, handle: Any) -> None:
        """Give a recorded command buffer back."""
        lib.vkFreeCommandBuffers(self._device.handle, self._pool, 1, handle)

    def submit(self, handle: Any, timeout_s: float, during: Any = None) -> Sample:
        """Submit a recorded command buffer and wait; `during()` is called while it runs.

        Raises:
            VkError: the submit failed or the device was lost.
            Failure: `timeout`: it did not end in time; the worker is of no more use then.
        """
        self._submit.pCommandBuffers = handle
        began = time.perf_counter()
        check(lib.vkQueueSubmit(self._device.queue, 1, self._submit, self._fence[0]), "vkQueueSubmit")
        if during is not None:
            during()
        result = lib.vkWaitForFences(self._device.handle, 1, self._fence, 1, int(timeout_s * 1e9))
        wall = time.perf_counter() - began
        if result == lib.VK_TIMEOUT:
            raise Failure("timeout", f"the device did not finish a submit within {timeout_s:g} s")
        check(result, "vkWaitForFences")
        check(lib.vkResetFences(self._device.handle, 1, self._fence), "vkResetFences")
        return Sample(None, wall)

    def time(self, handle: Any, timeout_s: float, during: Any = None) -> Sample:
        """Submit a command buffer made by `record` and read its timestamps; raises as `submit` does."""
        sample = self.submit(handle, timeout_s, during)
        if self._queries is None:
            return sample
        result = lib.vkGetQueryPoolResults(
            self._device.handle, self._queries, 0, 2, 16, self._ticks, 8, lib.VK_QUERY_RESULT_64_BIT
        )  # no WAIT bit: null devices never make them available
        if result != 0:
            raise VkError("vkGetQueryPoolResults", result)
        ticks = (int(self._ticks[1]) - int(self._ticks[0])) & self._mask
        return Sample(ticks * self._device.timestamp_period_ns * 1e-9, sample.wall_s)

    def _run(self, body: Any) -> None:
        commands = self._once[0]
        check(lib.vkBeginCommandBuffer(commands, self._begin), "vkBeginCommandBuffer")
        self._memory_barrier(commands, self._from_host, lib.VK_PIPELINE_STAGE_HOST_BIT)
        body(commands)
        self._memory_barrier(commands, self._from_host, lib.VK_PIPELINE_STAGE_HOST_BIT)
        check(lib.vkEndCommandBuffer(commands), "vkEndCommandBuffer")
        self.submit(self._once, 20.0)

    def copy(self, source: Buffer, target: Buffer, regions: list[tuple[int, int, int]]) -> None:
        """Copy (source offset, target offset, bytes) regions and wait; raises as `submit` does."""
        arena = Arena()
        array = arena.array("VkBufferCopy", len(regions))
        for i, (source_offset, target_offset, size) in enumerate(regions):
            array[i].srcOffset, array[i].dstOffset, array[i].size = source_offset, target_offset, size
        self._run(lambda c: lib.vkCmdCopyBuffer(c, source.handle, target.handle, len(regions), array))

    def fill(self, target: Buffer, word: int) -> None:
        """Fill a buffer (its size a multiple of four) with a 32-bit word and wait; raises as `submit` does."""
        self._run(lambda c: lib.vkCmdFillBuffer(c, target.handle, 0, target.size, word))
