"""Cooperative matrices that a device must have: any at all, and for coopmat2 flexible dimensions of workgroup scope."""

from __future__ import annotations

import msgspec

from vkprobe import kernels
from vkprobe.cell import Cell
from vkprobe.llama.matrix_tiles import MatrixTile
from vkprobe.records import DeviceRecord
from vkprobe.requirements.facts import has_extension, lookup
from vkprobe.requirements.model import Property, Requirement, TupleMatch
from vkprobe.weights import WEIGHT_TYPES

EXTENSION = "VK_NV_cooperative_matrix2"
_PROPERTIES = "VkPhysicalDeviceCooperativeMatrix2PropertiesNV"


def lacks_matrices(cell: Cell, device: DeviceRecord) -> str | None:
    """Why the device has no matrix for a cell that needs one; None if it has one, or if the cell's requirement says more."""
    v = cell.variant
    if v.path == "coopmat2" and has_extension(device, EXTENSION) is False:
        return f"needs {EXTENSION}, which the device does not list"
    if v.path != "coopmat" or v.tuple is not None:
        return None
    if device.coopmat.khr is None:
        return "the device's cooperative-matrix tuples are unknown"
    component = "s8" if v.accumulator == "s32" else "f16"
    return f"needs VK_KHR_cooperative_matrix with an {component} tuple of subgroup scope; the device lists none"


def flexible_tuple(tile: MatrixTile, component: str, accumulator: str) -> TupleMatch:
    """The predicate "an entry of flexible dimensions of workgroup scope whose granularities divide the tile's matrices"."""
    return TupleMatch(
        name=f"{component},{component}->{accumulator} of a workgroup of {tile.block} (granularity <= {tile.bm}x{tile.narrowest}x{tile.bk})",
        query="nv_flexible",
        match={
            "a": component,
            "b": component,
            "c": accumulator,
            "result": accumulator,
            "saturating": False,
            "scope": "workgroup",
            "workgroup_invocations": tile.block,
        },
        at_most={"m_granularity": tile.bm, "n_granularity": tile.narrowest, "k_granularity": tile.bk},
        source=f"the tile {tile}",
    )


def matrices_requirement(kernel: kernels.Kernel, tile: MatrixTile, shared_bytes: int, device: DeviceRecord) -> Requirement:
    """Requirement of `kernel`, compiled with `tile`, on `device`, which reserves some shared memory for itself."""
    reserved = int(lookup(device.properties, _PROPERTIES, "cooperativeMatrixWorkgroupScopeReservedSharedMemory") or 0)
    component = WEIGHT_TYPES[kernel.type].component
    own = kernels.requirement(
        kernel,
        tuples=[flexible_tuple(tile, component, kernel.accumulator)],
        shared_memory_bytes=shared_bytes + reserved,
        workgroup_invocations=tile.block,
    )
    limits = (
        ("cooperativeMatrixFlexibleDimensionsMaxDimension", max(tile.bm, tile.bn, tile.bk)),
        ("cooperativeMatrixWorkgroupScopeMaxWorkgroupSize", tile.block),
    )
    bounds = [Property(struct=_PROPERTIES, member=member, need=need, source=f"the tile {tile}") for member, need in limits]
    return msgspec.structs.replace(own, conditions=(*own.conditions, *bounds))
