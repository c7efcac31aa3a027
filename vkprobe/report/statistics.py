"""A compiler's statistics of a pipeline in a few characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from vkprobe.cell import MATRIX_PATHS
from vkprobe.ops.registers import Cause, cause
from vkprobe.records import PipelineRecord

LEGEND = "r registers, s spills, i instructions, m matrix instructions, as each driver counts them: not comparable across drivers"
CAUSES: dict[Cause, str] = {
    "compiler": "by what the compiler keeps live, their tile fits",
    "tight": "with hardly room beside their tile",
    "tile": "forced by their tile",
    "unknown": "cause unknown",
}
"""Why pipelines spill, in words; what a driver can mend comes first."""


def numbers(pipeline: PipelineRecord) -> list[tuple[int, str, bool]]:
    """The known statistics as (value, letter, whether it should worry): spills, and a matrix path without matrix instructions."""
    on_matrix = pipeline.path in MATRIX_PATHS
    statistics = (
        (pipeline.registers, "r", False),
        (pipeline.spills, "s", bool(pipeline.spills)),
        (pipeline.instructions, "i", False),
        (pipeline.matrix_instructions if on_matrix else None, "m", pipeline.matrix_instructions == 0),
    )
    return [(value, letter, worry) for value, letter, worry in statistics if value is not None]


def statistics_text(pipeline: PipelineRecord) -> str:
    """`184r 0s 7706i`; empty where the driver gives none."""
    return " ".join(f"{value}{letter}" for value, letter, _ in numbers(pipeline))


def spill_cause(pipeline: PipelineRecord) -> Cause:
    """Why a pipeline spills."""
    return cause(pipeline.tile_registers, pipeline.register_budget)


def spills_in_words(pipelines: Iterable[PipelineRecord]) -> str:
    """How many spill, the most, and why: `30 spill, most gemm_f16 (143): 30 the compiler, their tile fits`; empty where none does."""
    spilling = [p for p in pipelines if p.spills]
    if not spilling:
        return ""
    most = max(spilling, key=lambda p: p.spills or 0)
    counts = Counter(spill_cause(p) for p in spilling)
    by_cause = ", ".join(f"{counts[name]} {words}" for name, words in CAUSES.items() if counts[name])
    return f"{len(spilling)} spill{'s' * (len(spilling) == 1)}, most {most.kernel} ({most.spills}): {by_cause}"
