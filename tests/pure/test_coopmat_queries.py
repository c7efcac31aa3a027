"""The cooperative-matrix queries, on devices that answer as the specification says drivers may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vkprobe.worker import coopmat
from vkprobe.worker.vk import structs

MAINTENANCE1 = "VkPhysicalDeviceCooperativeMatrixMaintenance1FeaturesEXT"


class Device:
    """A device with these extensions, whose array queries `answer(function, row, info)` gives."""

    def __init__(self, extensions: list[str], answer: Callable[[str, str, Any], list[Any] | None]) -> None:
        self.extensions = dict.fromkeys(extensions, 1)
        self.asked: list[Any] = []
        self._answer = answer

    def rows(self, function: str, row: str, *, info: Any = None) -> list[Any] | None:
        """Return the prepared answer to the query."""
        self.asked.append((function, info))
        return self._answer(function, row, info)


def _row(name: str, **members: int) -> Any:
    struct = structs.new(name)
    for member, value in members.items():
        setattr(struct, member, value)
    return struct


def test_khr_rows_read_as_records_write_them() -> None:
    """Sizes, component types, saturation and scope of a row."""
    row = _row("VkCooperativeMatrixPropertiesKHR", MSize=16, NSize=8, KSize=32, AType=3, BType=3, CType=5, ResultType=5, scope=3)
    row.saturatingAccumulation = 1
    tuples = coopmat.khr_tuples(Device(["VK_KHR_cooperative_matrix"], lambda *_: [row]))
    assert tuples == [
        {"m": 16, "n": 8, "k": 32, "a": "s8", "b": "s8", "c": "s32", "result": "s32", "saturating": True, "scope": "subgroup"}
    ]


def test_without_the_extension_there_are_no_tuples_and_nothing_is_asked() -> None:
    """No extension means no tuples, which is known; the function is not called."""
    device = Device([], lambda *_: None)
    assert coopmat.khr_tuples(device) == []
    assert coopmat.flexible_tuples(device) == []
    assert coopmat.ext_tuples(device, {}, {}) == []
    assert device.asked == []


def test_a_missing_function_is_unknown_and_an_empty_list_is_empty() -> None:
    """A driver that lists NV_cooperative_matrix2 without its function gives null, one with nothing flexible an empty list."""
    extensions = ["VK_NV_cooperative_matrix2", "VK_KHR_cooperative_matrix"]
    assert coopmat.flexible_tuples(Device(extensions, lambda *_: None)) is None
    assert coopmat.flexible_tuples(Device(extensions, lambda *_: [])) == []
    assert coopmat.khr_tuples(Device(extensions, lambda *_: None)) is None


def test_flexible_rows_keep_their_workgroup_invocations() -> None:
    """A workgroup-scope row of the flexible-dimensions query."""
    row = _row(
        "VkCooperativeMatrixFlexibleDimensionsPropertiesNV", MGranularity=32, NGranularity=16, KGranularity=16, CType=1, ResultType=1
    )
    row.scope, row.workgroupInvocations = 2, 256
    (entry,) = coopmat.flexible_tuples(Device(["VK_NV_cooperative_matrix2"], lambda *_: [row])) or []
    assert (entry["scope"], entry["workgroup_invocations"], entry["m_granularity"], entry["a"], entry["c"]) == (
        "workgroup",
        256,
        32,
        "f16",
        "f32",
    )


def _facts(*, control: bool = True, workgroup: bool = False) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    features = {
        MAINTENANCE1: {"cooperativeMatrixProperties2": True},
        "VkPhysicalDeviceSubgroupSizeControlFeatures": {"subgroupSizeControl": control},
        "VkPhysicalDeviceCooperativeMatrix2FeaturesNV": {"cooperativeMatrixWorkgroupScope": workgroup},
    }
    properties = {
        "VkPhysicalDeviceSubgroupProperties": {"subgroupSize": 64},
        "VkPhysicalDeviceSubgroupSizeControlProperties": {"minSubgroupSize": 32, "maxSubgroupSize": 64},
        "VkPhysicalDeviceCooperativeMatrix2PropertiesNV": {"cooperativeMatrixWorkgroupScopeMaxWorkgroupSize": 128},
    }
    return features, properties


def test_maintenance1_is_asked_per_subgroup_size_with_and_without_saturation() -> None:
    """Subgroup scope: varying size and each power of two in the range; invocations are 0 there."""
    assert coopmat.ext_questions(*_facts()) == [(3, 0, size, flags) for size in (0, 32, 64) for flags in (0, 1)]


def test_maintenance1_is_asked_for_the_default_size_only_where_sizes_are_fixed() -> None:
    """Without subgroupSizeControl only the default size may be asked for, besides a varying one."""
    assert {size for _, _, size, _ in coopmat.ext_questions(*_facts(control=False))} == {0, 64}


def test_maintenance1_workgroup_questions_are_valid() -> None:
    """Workgroup scope: powers of two up to the limit, each a multiple of the subgroup size asked with it."""
    workgroup = [q for q in coopmat.ext_questions(*_facts(workgroup=True)) if q[0] == 2]
    assert {invocations for _, invocations, _, _ in workgroup} == {32, 64, 128}
    assert all(size == 0 or invocations % size == 0 for _, invocations, size, _ in workgroup)


def test_maintenance1_rows_carry_what_was_asked() -> None:
    """Each row has the scope, invocations, subgroup size and saturation of its question."""

    def answer(function: str, row: str, info: Any) -> list[Any]:
        assert (function, row, info.sType) == (coopmat.EXT_QUERY, "VkCooperativeMatrixProperties2EXT", 1000659001)
        entry = _row(row, MGranularity=16, NGranularity=16, KGranularity=16, AType=1000141000, BType=1000141000, CType=1, ResultType=1)
        return [entry] if info.subgroupSize == 32 and info.flags == 0 else []

    device = Device(["VK_EXT_cooperative_matrix_maintenance1"], answer)
    assert coopmat.ext_tuples(device, *_facts()) == [
        {
            "m_granularity": 16,
            "n_granularity": 16,
            "k_granularity": 16,
            "a": "bf16",
            "b": "bf16",
            "c": "f32",
            "result": "f32",
            "scope": "subgroup",
            "invocations": 0,
            "subgroup_size": 32,
            "saturating": False,
        }
    ]
    assert len(device.asked) == 6


def test_maintenance1_without_its_function_is_unknown() -> None:
    """The extension is listed, its query is not there: null."""
    assert coopmat.ext_tuples(Device(["VK_EXT_cooperative_matrix_maintenance1"], lambda *_: None), *_facts()) is None


def test_every_component_type_of_the_registry_has_a_short_name() -> None:
    """No type's name is a number, and no two are the same."""
    from vkprobe.worker.vk import registry

    names = [coopmat.component_type(value) for value in structs.numbered(registry.COMPONENT_TYPES)]
    assert len(set(names)) == len(names)
    assert not [name for name in names if name.startswith("type-")]
    assert {"f16", "f32", "f64", "bf16", "e4m3", "e5m2", "s8", "s16", "s32", "s64", "u8", "u16", "u32", "u64"} <= set(names)
    assert coopmat.scope(2) == "workgroup"
    assert coopmat.scope(9) == "scope-9"


def test_cooperative_vector_rows_read_as_records_write_them() -> None:
    """The types by their short names, packed ones included; transposition as a truth value."""

    def answer(function: str, row: str, info: Any) -> list[Any]:
        assert (function, info) == (coopmat.VECTOR_QUERY, None)
        entry = _row(
            row, inputType=9, inputInterpretation=1000491000, matrixInterpretation=3, biasInterpretation=5, resultType=5, transpose=1
        )
        assert entry.sType == 1000491002
        return [entry]

    assert coopmat.vector_combinations(Device(["VK_NV_cooperative_vector"], answer)) == [
        {
            "input": "u32",
            "input_interpretation": "s8-packed",
            "matrix_interpretation": "s8",
            "bias_interpretation": "s32",
            "result": "s32",
            "transpose": True,
        }
    ]


def test_cooperative_vectors_are_asked_only_of_devices_that_list_them() -> None:
    """No extension: none, and nothing is asked; the extension without its function: unknown."""
    without = Device([], lambda *_: None)
    assert coopmat.vector_combinations(without) == []
    assert without.asked == []
    assert coopmat.vector_combinations(Device(["VK_NV_cooperative_vector"], lambda *_: None)) is None
