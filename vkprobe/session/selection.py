"""Which cells the verbs and the main job measure where the command line leaves it open."""

from __future__ import annotations

from vkprobe.bench.cells import Cell, Selection, Shape, cells
from vkprobe.bench.peaks import copy_cells, peak_cells
from vkprobe.bench.policy import FULL, QUICK, SOFTWARE, Policy
from vkprobe.records import DeviceRecord

MOST_GEMV_COLUMNS = 8
"""Beyond it llama.cpp multiplies matrices (ggml-vulkan.cpp:362)."""
RUN_TYPES = ("f16", "q4_0", "q8_0", "q4_k")


def software(device: DeviceRecord) -> bool:
    """Whether the device is a processor posing as one: small shapes, and times that mean nothing absolute."""
    return device.type == "cpu"


def default_shapes(op: str, device: DeviceRecord) -> list[Shape]:
    """llama.cpp's test-backend-ops shape on devices, a small one on software; null devices compile what devices run."""
    m, k = (512, 512) if software(device) else (4096, 14336)
    if op == "gemm":
        return [Shape(256, 32, 256)] if software(device) else [Shape(m, 512, k)]
    if op == "gemv":
        return [Shape(m, n, k) for n in range(1, MOST_GEMV_COLUMNS + 1)]
    if op == "convert":
        return [Shape(1, n, k) for n in (1, 8, 512)]
    return [Shape(m, 1, k)]


def policy(device: DeviceRecord, *, full: bool) -> Policy:
    """How long to measure on this device."""
    return SOFTWARE if software(device) else FULL if full else QUICK


def run_cells(device: DeviceRecord, *, full: bool) -> list[Cell]:
    """The main job's cells: copies and peaks, then every path and accumulator.

    On devices the types that models are mostly made of, N = 1, 2, 4, 8 and the default tuple, unless `full`. Software devices
    are there to verify: all types, N = 1 and 2, llama.cpp's accumulators.
    """
    types = () if full or software(device) else RUN_TYPES
    columns = range(1, MOST_GEMV_COLUMNS + 1) if full else (1, 2) if software(device) else (1, 2, 4, 8)
    accumulators = ("default",) if software(device) and not full else ()
    gemv = [s for s in default_shapes("gemv", device) if s.n in columns]
    selections = [
        Selection(
            op="gemm",
            shapes=default_shapes("gemm", device),
            types=types,
            accumulators=accumulators,
            tuples=("all",) if full else ("default",),
        ),
        Selection(op="gemv", shapes=gemv, types=types),
        Selection(op="dequant", shapes=default_shapes("dequant", device), types=types),
        Selection(op="convert", shapes=default_shapes("convert", device)[-1:]),
    ]
    ceilings = [*copy_cells(device), *peak_cells(device)]
    return ceilings + [cell for selection in selections for cell in cells(selection, device)]
