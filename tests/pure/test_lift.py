"""Fields that older records lack: what is read from their words equals what is written today."""

from __future__ import annotations

import pytest

from tests.pure.recorded_devices import NAMES, full_plans, recorded
from vkprobe import ops
from vkprobe.ops.plan import Plan
from vkprobe.records import LadderRecord, PipelineRecord
from vkprobe.results import lift
from vkprobe.session.ladder_features import feature_climbs
from vkprobe.session.selection import recorded_tile


def older(plan: Plan) -> PipelineRecord:
    """The plan's pipeline as a record without the newer fields."""
    return PipelineRecord(
        run="r",
        device="d",
        kernel=plan.kernel.name,
        path=plan.cell.variant.path or plan.kernel.path,
        type=ops.find(plan.cell.op).kernel_type(plan.cell) or plan.kernel.type,
        tile=recorded_tile(plan),
        status="ok",
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_s_words_give_the_fields_that_a_plan_has(name: str) -> None:
    """Op, family, tile's name, tuple and subgroups, of every pipeline that `compile --full` makes."""
    planned = [plan for plan in full_plans(name) if recorded_tile(plan) is not None]
    assert len(planned) > 50
    for plan in planned:
        lifted = lift.pipeline(older(plan))
        read = lifted.op, lifted.family, lifted.tile_name, lifted.tuple, lifted.subgroups
        assert read == (plan.kernel.op, plan.kernel.family, plan.tile_name, plan.tuple, plan.subgroups), plan.tile


@pytest.mark.parametrize("name", NAMES)
def test_a_feature_s_name_gives_the_fields_that_a_climb_has(name: str) -> None:
    """Struct, member, form, subgroup size, and whether the device has it off."""
    climbs = feature_climbs(recorded(name), everything=True)
    assert climbs
    for climb in climbs:
        older = LadderRecord(run="r", device="d", feature=climb.feature, rung=climb.rung, status=climb.status, reason=climb.reason)
        lifted = lift.climb(older)
        read = lifted.struct, lifted.member, lifted.form, lifted.alone, lifted.subgroup_size, lifted.off
        assert read == (climb.struct, climb.member, climb.form, climb.alone, climb.subgroup_size, climb.off), climb.feature


def test_new_records_are_taken_as_they_are() -> None:
    """Words that contradict the fields aren't read."""
    new = PipelineRecord(run="r", device="d", kernel="gemm_x", path="p", type="x", tile="l 1x1", status="ok", op="gemm", tile_name="m")
    assert lift.pipeline(new) is new
