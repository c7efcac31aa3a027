"""The names of cells and pipelines, which people read, type in a pattern and list in a file. Pure."""

from __future__ import annotations

from vkprobe.ops import find
from vkprobe.records import PipelineRecord, ResultRecord


def cell_name(record: ResultRecord | PipelineRecord) -> str:
    """A cell's or pipeline's own fields as a path without spaces: the same under every driver, on every device and in every version.

    A cell's name is its op's: `gemm/q4_0/coopmat/f16/16x16x16/4096x512x14336/cold`. A pipeline's is `compile/kernel[/tile]`:
    `compile/gemv_q4_0_subgroup/n4`.
    """
    if isinstance(record, PipelineRecord):
        return "/".join(filter(None, ("compile", record.kernel, (record.tile or "").replace(", ", " ").replace(" ", "_"))))
    return find(record.op).cell_name(record.cell)


def full_name(device: str, record: ResultRecord | PipelineRecord) -> str:
    """The name behind its device's id: `nvidia/0:gemm/f16/...`."""
    return f"{device}:{cell_name(record)}"
