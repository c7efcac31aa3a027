"""What a driver's compiler says of a pipeline, in few characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from vkprobe.bench.demand import Cause, cause
from vkprobe.bench.pipelines import MATRIX_PATHS
from vkprobe.records import PipelineRecord, ResultRecord

LEGEND = "r registers, s spills, i instructions, m matrix instructions, as each driver counts them: not comparable across drivers"
CAUSES: dict[Cause, str] = {
    "compiler": "by what the compiler keeps live, their tile fits",
    "tight": "with hardly room beside their tile",
    "tile": "forced by their tile",
    "unknown": "cause unknown",
}
"""Why pipelines spill, in words; what a driver can mend comes first."""

D = TypeVar("D", bound=Hashable)


def numbers(pipeline: PipelineRecord) -> list[tuple[int, str, bool]]:
    """The known statistics as (value, letter, whether it should worry): spills, and a matrix path without matrix instructions."""
    on_matrix = pipeline.path in MATRIX_PATHS
    told = (
        (pipeline.registers, "r", False),
        (pipeline.spills, "s", bool(pipeline.spills)),
        (pipeline.instructions, "i", False),
        (pipeline.matrix_instructions if on_matrix else None, "m", pipeline.matrix_instructions == 0),
    )
    return [(value, letter, worry) for value, letter, worry in told if value is not None]


def statistics_text(pipeline: PipelineRecord) -> str:
    """`184r 0s 7706i`; empty where the driver gives none."""
    return " ".join(f"{value}{letter}" for value, letter, _ in numbers(pipeline))


def spill_cause(pipeline: PipelineRecord) -> Cause:
    """Why a pipeline that spills does."""
    return cause(pipeline.tile_registers, pipeline.register_budget)


def spills_in_words(pipelines: Iterable[PipelineRecord]) -> str:
    """How many spill, the most, and why: `30 spill, most gemm_f16 (143): 30 the compiler, their tile fits`; empty where none does."""
    spilling = [p for p in pipelines if p.spills]
    if not spilling:
        return ""
    most = max(spilling, key=lambda p: p.spills or 0)
    counts = Counter(spill_cause(p) for p in spilling)
    told = ", ".join(f"{counts[name]} {words}" for name, words in CAUSES.items() if counts[name])
    return f"{len(spilling)} spill{'s' * (len(spilling) == 1)}, most {most.kernel} ({most.spills}): {told}"


class Finder(Generic[D]):
    """The compile statistics that belong to a result, by device and kernel."""

    def __init__(self, pipelines: Iterable[tuple[D, PipelineRecord]]) -> None:
        self._found: dict[tuple[D, str], list[PipelineRecord]] = {}
        for device, record in pipelines:
            self._found.setdefault((device, record.kernel), []).append(record)

    def of(self, device: D, result: ResultRecord) -> PipelineRecord | None:
        """The pipeline of the same kernel, path and type; of several, the one of the same tile and subgroup size."""
        same = [p for p in self._found.get((device, result.kernel), []) if (p.path, p.type) == (result.path, result.type)]
        exact = [p for p in same if (p.tile, p.subgroup_size) == (result.tile, result.subgroup_size)]
        if exact:
            return exact[0]
        return same[0] if len(same) == 1 else None
