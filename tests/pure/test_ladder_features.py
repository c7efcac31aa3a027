"""The features that a device is climbed with, on recorded devices: nothing that is off is ever compiled."""

from __future__ import annotations

import msgspec
import pytest

from tests.pure.recorded_devices import NAMES, recorded, with_features, with_properties
from vkprobe import kernels
from vkprobe.protocol import FeatureJob, FeatureStep, TupleJob
from vkprobe.records import DeviceRecord
from vkprobe.requirements.evaluate import evaluate
from vkprobe.session.ladder import Climb, tuple_climbs
from vkprobe.session.ladder_features import feature_climbs
from vkprobe.session.opening import open_request
from vkprobe.spirv_enables import capability

NV = "VkPhysicalDeviceCooperativeMatrix2FeaturesNV"
EXT = "VkPhysicalDeviceCooperativeMatrixMaintenance1FeaturesEXT"
EVERYWHERE = (*NAMES, "nvidia-h200")


def climbs(device: DeviceRecord, *, everything: bool = False) -> dict[str, Climb]:
    """Climbs by feature."""
    all_climbs = feature_climbs(device, everything=everything)
    assert len({c.feature for c in all_climbs}) == len(all_climbs)
    return {c.feature or "": c for c in all_climbs}


def steps(climb: Climb) -> list[FeatureStep]:
    """The kernels of a climb."""
    assert isinstance(climb.job, FeatureJob)
    return list(climb.job.steps)


def having(name: str, extension: str, struct: str, members: dict[str, bool]) -> DeviceRecord:
    """A recorded device that also lists an extension, with these features."""
    device = recorded(name)
    return msgspec.structs.replace(device, extensions={**device.extensions, extension: 1}, features={**device.features, struct: members})


@pytest.mark.parametrize("name", EVERYWHERE)
def test_no_kernel_is_climbed_with_that_the_device_does_not_allow(name: str) -> None:
    """Each capability of each module is on, and is among what the device is opened with."""
    device = recorded(name)
    for climb in feature_climbs(device):
        if climb.job is None:
            assert climb.reason
            continue
        assert all(evaluate(device, r).met is True for r in climb.requirements)
        opened = open_request(device, climb.requirements)
        enabled = {(struct, member) for struct, members in opened.features.items() for member in members}
        names = [climb.job.kernel] if isinstance(climb.job, TupleJob) else [s.kernel for s in climb.job.steps]
        for module in (kernels.kernels()[n] for n in names):
            for needed in module.capabilities:
                wanted = {(e.name, e.member) for e in capability(needed) if e.kind == "feature"}
                members = {m for _, m in wanted}
                assert not wanted or members & {m for _, m in enabled}, (climb.feature, needed)


@pytest.mark.parametrize("name", EVERYWHERE)
def test_constants_are_dense(name: str) -> None:
    """Ids count from 0, the workgroup's size first; it fits the device, and is whole subgroups where they are asked for."""
    device = recorded(name)
    most = device.properties["VkPhysicalDeviceProperties"]["limits"]["maxComputeWorkGroupInvocations"]
    for climb in feature_climbs(device):
        for step in climb.job.steps if isinstance(climb.job, FeatureJob) else []:
            assert [i for i, _ in step.constants] == list(range(len(step.constants)))
            local = step.constants[0][1]
            assert 0 < local <= most
            assert step.parameters["local"] == local
            if step.subgroup_size:
                assert local % step.subgroup_size == 0


def test_a_feature_that_is_off_names_its_bit_and_has_no_kernel() -> None:
    """ANV lists NV_cooperative_matrix2 for per-element operations alone."""
    by_name = climbs(recorded("anv-bmg"))
    for member in ("WorkgroupScope", "FlexibleDimensions", "Reductions", "Conversions", "TensorAddressing", "BlockLoads"):
        climb = by_name[f"{NV}.cooperativeMatrix{member}"]
        assert (climb.rung, climb.status, climb.job) == ("advertised", "unsupported", None)
        assert climb.reason == f"{NV}.cooperativeMatrix{member} is off"
    (f16, f32) = steps(by_name[f"{NV}.cooperativeMatrixPerElementOperations"])
    assert (f16.kernel, f32.kernel) == ("ladder_element_f16_subgroup", "ladder_element_f32_subgroup")
    assert f32.constants[1:] == [(1, 8), (2, 16)]  # of its own tuple
    assert f32.full_subgroups
    assert f"{NV}.cooperativeMatrixPerElementOperations beyond one granule" not in by_name


def test_what_is_not_listed_is_no_row_unless_asked_for() -> None:
    """NVK has no NV_cooperative_matrix2, bf16 or float8."""
    device = recorded("nvk-172")
    assert not any("CooperativeMatrix" in name or "Bfloat16" in name for name in climbs(device))
    every = climbs(device, everything=True)
    climb = every[f"{NV}.cooperativeMatrixReductions"]
    assert (climb.rung, climb.status) == (None, "unsupported")
    assert climb.reason == "the device does not list VK_NV_cooperative_matrix2"
    assert set(climbs(device)) < set(every)
    assert not any("beyond one granule" in name for name in every)


def test_a_feature_turned_off_is_compiled_no_more() -> None:
    """Turning off a feature that a device has removes it from the compiled ones."""
    device = recorded("lvp")
    assert isinstance(climbs(device)[f"{NV}.cooperativeMatrixReductions"].job, FeatureJob)
    off = climbs(with_features(device, cooperativeMatrixReductions=False))
    assert off[f"{NV}.cooperativeMatrixReductions"].job is None
    assert f"{NV}.cooperativeMatrixReductions beyond one granule" not in off


def test_the_h200_climbs_with_all_seven_in_both_scopes() -> None:
    """Shapes are multiples of its granularities, the largest workgroup that it takes."""
    by_name = climbs(recorded("nvidia-h200"))
    for member in ("Reductions", "Conversions", "PerElementOperations", "TensorAddressing", "BlockLoads"):
        for also in ("", " beyond one granule"):
            parts = steps(by_name[f"{NV}.cooperativeMatrix{member}{also}"])
            assert {p.kernel.rpartition("_")[2] for p in parts} == {"subgroup", "workgroup"}
            for part in parts:
                local, m, n = (value for _, value in part.constants[:3])
                granule = 32 if part.kernel.endswith("workgroup") else 16
                assert local == (256 if granule == 32 else 32)
                assert m % granule == n % granule == 0
                assert (max(m, n) > granule) == bool(also) or "2x2" in part.kernel
    scope = by_name[f"{NV}.cooperativeMatrixWorkgroupScope"].job
    assert isinstance(scope, TupleJob)
    assert (scope.kernel, scope.local, scope.m, scope.n, scope.k) == ("ladder_f16_f16_f32_workgroup", 256, 64, 64, 16)
    flexible = by_name[f"{NV}.cooperativeMatrixFlexibleDimensions"].job
    assert isinstance(flexible, TupleJob)
    shape = (flexible.m, flexible.n, flexible.k)
    assert shape == (48, 32, 32)
    assert shape not in {(t.m, t.n, t.k) for t in recorded("nvidia-h200").coopmat.khr or []}
    assert f"{EXT}.cooperativeMatrixReductions" not in by_name


def test_workgroup_scope_leaves_the_driver_its_shared_memory() -> None:
    """If the driver's share leaves no room for the operands, the climb says so."""
    device = with_properties(recorded("nvidia-h200"), cooperativeMatrixWorkgroupScopeReservedSharedMemory=49000)
    climb = climbs(device)[f"{NV}.cooperativeMatrixWorkgroupScope"]
    assert climb.job is None
    assert "maxComputeSharedMemorySize" in (climb.reason or "")


def test_shapes_stay_within_the_largest_dimension() -> None:
    """A device that allows no more than one granule has no row beyond it, and no matrix to take 2x2 reductions of."""
    by_name = climbs(with_properties(recorded("lvp"), cooperativeMatrixFlexibleDimensionsMaxDimension=8))
    assert f"{NV}.cooperativeMatrixReductions beyond one granule" not in by_name
    assert [s.kernel for s in steps(by_name[f"{NV}.cooperativeMatrixReductions"])] == [
        "ladder_reduce_f16_subgroup",
        "ladder_reduce_f32_subgroup",
    ]
    assert by_name[f"{NV}.cooperativeMatrixFlexibleDimensions"].reason == "every flexible shape up to 8 is a KHR tuple's too"


def test_flexible_tuples_ask_for_flexible_dimensions() -> None:
    """Flexible tuples need the feature in either scope; KHR tuples don't."""
    device = recorded("lvp")
    for climb in tuple_climbs(device):
        enabled = open_request(device, climb.requirements).features
        assert (NV in enabled and "cooperativeMatrixFlexibleDimensions" in enabled[NV]) == ("m_granularity" in climb.tuple)


def test_maintenance1_has_kernels_of_its_own_marked_unproven() -> None:
    """The same checks as NV's, in modules that declare the EXT extension."""
    members = ("Properties2", "Reductions", "Conversions", "PerElementOperations", "GetCoordinate")
    on = {f"cooperativeMatrix{m}": True for m in members}
    device = having("radv-gfx1201", "VK_EXT_cooperative_matrix_maintenance1", EXT, on)
    by_name = climbs(device)
    for member in members[1:]:
        climb = by_name[f"{EXT}.cooperativeMatrix{member}"]
        assert isinstance(climb.job, FeatureJob)
        assert climb.facts == {"kernel": "unproven"}
        enabled = open_request(device, climb.requirements).features[EXT]
        assert enabled == [f"cooperativeMatrix{member}"]
        for step in steps(climb):
            assert step.kernel.startswith("ladder_ext_")
            declared = {c for c in kernels.kernels()[step.kernel].capabilities if c.startswith("CooperativeMatrix")}
            assert declared == {"CooperativeMatrixKHR", f"CooperativeMatrix{member}EXT"}
    query = by_name[f"{EXT}.cooperativeMatrixProperties2"]
    assert (query.rung, query.status, query.reason) == ("queried", "wrong", "the query lists no combination")
    listed = msgspec.structs.replace(device, coopmat=msgspec.structs.replace(device.coopmat, ext=[{"scope": "subgroup"}]))
    query = climbs(listed)[f"{EXT}.cooperativeMatrixProperties2"]
    assert (query.rung, query.status, query.reason) == ("queried", "ok", "a query, no kernel; combinations that it lists: 1")


def test_subgroup_operations_are_climbed_with_at_each_size_that_may_be_required() -> None:
    """RADV requires 32 and 64, ANV 16 and 32; where nothing may be required, the default is taken as it comes."""
    for name, sizes in {"radv-gfx1201": (32, 64), "anv-bmg": (16, 32), "lvp": (8,)}.items():
        by_name = climbs(recorded(name))
        assert {n.rpartition(" ")[2] for n in by_name if n.startswith("subgroup")} == {str(s) for s in sizes}
        for size in sizes:
            (step,) = steps(by_name[f"subgroupClusteredAdd at {size}"])
            assert (step.subgroup_size, step.full_subgroups, step.constants) == (size, True, [(0, 2 * size)])
            assert step.parameters["required"] is True
    (step,) = steps(climbs(recorded("nvk-172"))["subgroupAdd at 32"])
    assert (step.subgroup_size, step.parameters["required"]) == (None, False)


def test_an_operation_that_compute_shaders_lack_is_unsupported() -> None:
    """The operation's flag may be missing, or the stage's."""
    without = with_properties(recorded("nvk-172"), supportedOperations=0x3, subgroupSupportedOperations=0x3)
    by_name = climbs(without)
    assert isinstance(by_name["subgroupAll at 32"].job, FeatureJob)
    climb = by_name["subgroupClusteredAdd at 32"]
    assert (climb.rung, climb.status) == ("advertised", "unsupported")
    assert "CLUSTERED" in (climb.reason or "")
    elsewhere = climbs(with_properties(recorded("nvk-172"), supportedStages=0x10, subgroupSupportedStages=0x10))
    assert {c.status for n, c in elsewhere.items() if n.startswith("subgroup")} == {"unsupported"}


def test_integer_dots_show_whether_they_are_accelerated() -> None:
    """Each form beside its own property; plain arithmetic to be timed against."""
    by_name = climbs(recorded("nvk-172"))
    struct = "VkPhysicalDeviceShaderIntegerDotProductFeatures.shaderIntegerDotProduct"
    assert by_name[f"{struct} 4x8BitPackedMixedSignedness"].facts == {"accelerated": True}
    assert by_name[f"{struct} AccumulatingSaturating8BitSigned"].facts == {"accelerated": False}
    (step,) = steps(by_name[f"{struct} AccumulatingSaturating8BitSigned"])
    assert (step.kernel, step.plain_kernel, step.parameters["mode"]) == ("ladder_dot_vector_signed", "ladder_dot_plain_signed", 1)
    assert sum(name.startswith(struct) for name in by_name) == 12


def test_a_kernel_that_needs_more_than_its_feature_says_what() -> None:
    """bf16 conversions without shaderInt16."""
    climb = climbs(with_features(recorded("nvidia-h200"), shaderInt16=False))[
        "VkPhysicalDeviceShaderBfloat16FeaturesKHR.shaderBFloat16Type"
    ]
    assert (climb.rung, climb.status) == ("queried", "unsupported")
    assert climb.reason == "needs VkPhysicalDeviceFeatures.shaderInt16"
