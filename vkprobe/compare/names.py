"""The names of cells and pipelines: what a person reads, types in a pattern and lists in a file. Pure."""

from __future__ import annotations

from vkprobe.records import PipelineRecord, ResultRecord

_BY_KERNEL = ("copy", "peak")  # ops whose kernels path and types do not tell apart


def cell_name(record: ResultRecord | PipelineRecord) -> str:
    """A cell's or pipeline's own fields as a path without spaces: the same under every driver, on every device and in every version.

    Of a cell `op/type/path/accumulator[/tuple]/MxNxK/residency`, with the tier where that is not mimic, and of copies and peaks the
    kernel in place of the type: `gemm/q4_0/coopmat/f16/16x16x16/4096x512x14336/cold`. Of a pipeline `compile/kernel[/tile]`:
    `compile/gemv_q4_0_subgroup/n4`.
    """
    if isinstance(record, PipelineRecord):
        return "/".join(filter(None, ("compile", record.kernel, (record.tile or "").replace(", ", " ").replace(" ", "_"))))
    what = record.kernel if record.op in _BY_KERNEL else record.type
    tier = None if record.tier == "mimic" else record.tier
    shape = f"{record.m}x{record.n}x{record.k}"
    return "/".join(filter(None, (record.op, what, record.path, record.accumulator, record.tuple, shape, record.residency, tier)))


def full_name(device: str, record: ResultRecord | PipelineRecord) -> str:
    """The name behind its device's id: `nvidia/0:gemm/f16/...`."""
    return f"{device}:{cell_name(record)}"
