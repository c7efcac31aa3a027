"""Which cells the verbs and the main job measure where the command line leaves it open."""

from __future__ import annotations

from collections.abc import Sequence

from vkprobe.bench.cells import Cell, Selection, Shape, cells
from vkprobe.bench.peaks import copy_cells, peak_cells
from vkprobe.bench.policy import FULL, QUICK, SOFTWARE, Policy
from vkprobe.records import DeviceRecord

MOST_GEMV_COLUMNS = 8
"""Beyond it llama.cpp multiplies matrices (ggml-vulkan.cpp:362)."""
RUN_TYPES = ("f16", "q4_0", "q8_0")


def software(device: DeviceRecord) -> bool:
    """Whether the device is a processor posing as one: small shapes, and times that mean nothing absolute."""
    return device.type == "cpu"


def default_shapes(op: str, device: DeviceRecord) -> list[Shape]:
    """llama.cpp's test-backend-ops shape on devices, a small one on software; null devices compile what devices run."""
    m, k = (512, 512) if software(device) else (4096, 14336)
    if op == "gemm":
        return [Shape(256, 64, 256)] if software(device) else [Shape(m, 512, k)]
    if op == "gemv":
        return [Shape(m, n, k) for n in range(1, MOST_GEMV_COLUMNS + 1)]
    if op == "convert":
        return [Shape(1, n, k) for n in (1, 8, 512)]
    return [Shape(m, 1, k)]


def policy(device: DeviceRecord, *, full: bool) -> Policy:
    """How long to measure on this device."""
    return SOFTWARE if software(device) else FULL if full else QUICK


def run_cells(device: DeviceRecord, *, full: bool) -> list[Cell]:
    """The main job's cells: copies and peaks, then every path, type and accumulator; N = 1, 2, 4, 8 and the default tuple unless `full`."""
    gemv: Sequence[Shape] = default_shapes("gemv", device)
    if not full:
        gemv = [s for s in gemv if s.n in (1, 2, 4, 8)]
    selections = [
        Selection(op="gemm", shapes=default_shapes("gemm", device), types=RUN_TYPES, tuples=("all",) if full else ("default",)),
        Selection(op="gemv", shapes=gemv, types=RUN_TYPES),
        Selection(op="dequant", shapes=default_shapes("dequant", device), types=RUN_TYPES),
    ]
    ceilings = [*copy_cells(device), *peak_cells(device)]
    return ceilings + [cell for selection in selections for cell in cells(selection, device)]
