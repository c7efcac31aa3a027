"""Differences between two devices: recorded ones of two Mesa versions of one chip, and made-up changes."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
import pytest

from tests.pure.recorded_devices import RECORDED, recorded, with_features, with_properties
from vkprobe.device_facts import Coopmat, KhrTuple, VectorCombination
from vkprobe.records import DeviceRecord
from vkprobe.report.caps_diff import Change, difference, is_relevant
from vkprobe.report.caps_diff_text import as_text
from vkprobe.results.devices import devices_from

OLD, NEW = recorded("radv-navi31-mesa-25.0"), recorded("radv-navi31-mesa-26.1")


def changes(before: DeviceRecord, after: DeviceRecord, section: str = "") -> list[Change]:
    """The changes of one section, or all."""
    return [c for c in difference(before, after).changes if not section or c.section == section]


def pairs(differences: list[Change]) -> set[tuple[str, str]]:
    """(what, name) of each."""
    return {(c.what, c.name) for c in differences}


def with_tuples(device: DeviceRecord, rows: list[KhrTuple] | None, **others: Any) -> DeviceRecord:
    """The device with other KHR tuples."""
    return msgspec.structs.replace(device, coopmat=msgspec.structs.replace(device.coopmat, khr=rows, **others))


def test_two_mesa_versions_of_one_chip_show_what_the_newer_one_brought() -> None:
    """RADV on navi31, Mesa 25.0 to 26.1: extensions, features, limits, queues, the order of tuples."""
    differences = difference(OLD, NEW).changes
    have = pairs(differences)
    assert ("appeared", "VK_VALVE_shader_mixed_float_dot_product") in have
    assert ("appeared", "VK_KHR_shader_untyped_pointers") in have
    struct = "VkPhysicalDeviceShaderMixedFloatDotProductFeaturesVALVE"
    assert ("appeared", f"{struct}.shaderMixedFloatDotProductFloat16AccFloat32") in have
    assert ("changed", "VkPhysicalDeviceProperties.limits.maxTexelBufferElements") in have
    assert ("changed", "queue family 0") in have
    (order,) = (c for c in differences if c.section == "tuple")
    assert "order of KHR tuples" in order.name
    assert "takes 16x16x16 either way" in order.name
    assert not [c for c in differences if c.what == "vanished" and c.section in ("extension", "feature")]


def test_what_names_a_driver_is_identity_and_not_a_change_of_what_it_offers() -> None:
    """UUIDs, build id, versions."""
    names = {c.name.rpartition(".")[2] for c in changes(OLD, NEW, "identity")}
    assert {"driver version", "Vulkan", "build id", "pipelineCacheUUID"} <= names
    assert not [c for c in changes(OLD, NEW) if c.section != "identity" and "UUID" in c.name]
    assert not [c for c in changes(OLD, NEW) if c.section == "identity" and c.relevant]


def test_a_device_does_not_differ_from_itself() -> None:
    """No change, nothing untold, and the text says so."""
    diff = difference(NEW, NEW)
    assert (diff.changes, diff.untold) == ([], [])
    assert "No difference" in as_text(diff, "table")


def test_the_reverse_has_what_appeared_as_vanished() -> None:
    """The same facts, seen from the other side."""
    forth, back = changes(OLD, NEW), changes(NEW, OLD)
    swapped = {"appeared": "vanished", "vanished": "appeared", "changed": "changed"}
    there = {(swapped[c.what], c.name, str(c.after), str(c.before)) for c in forth if c.section not in ("tuple", "property")}
    assert there == {(c.what, c.name, str(c.before), str(c.after)) for c in back if c.section not in ("tuple", "property")}


def test_tuples_are_compared_as_sets_and_then_by_order() -> None:
    """Lost and new tuples are listed; the same tuples in another order are a change of order and of llama.cpp's choice."""
    device = recorded("nvk-172")
    rows = device.coopmat.khr or []
    assert pairs(changes(with_tuples(device, rows[1:]), with_tuples(device, rows[:-1]), "tuple")) >= {
        ("appeared", "KHR tuple 16x16x16 f16,f16,f16->f16"),
        ("vanished", "KHR tuple 8x8x16 s8,s8,s32->s32 saturating"),
    }
    turned = changes(device, with_tuples(device, rows[::-1]))
    assert {c.section for c in turned} == {"tuple"}
    shapes = [c for c in turned if "llama.cpp takes with" in c.name]
    assert {(c.before, c.after) for c in shapes} == {("16x16x16", "16x8x8")}
    assert any("order of KHR tuples, from number 1" in c.name for c in turned)


def test_an_equal_row_listed_twice_counts() -> None:
    """A driver that lists a tuple twice differs from one that lists it once."""
    device = recorded("nvk-172")
    rows = device.coopmat.khr or []
    (change,) = changes(device, with_tuples(device, [*rows, rows[0]]), "tuple")
    assert (change.what, change.name) == ("appeared", "KHR tuple 16x16x16 f16,f16,f16->f16")


def test_tuples_that_one_does_not_report_are_no_difference() -> None:
    """Unknown is never "vanished"."""
    device = recorded("nvk-172")
    diff = difference(device, with_tuples(device, None))
    assert diff.changes == []
    assert diff.untold == ["coopmat.khr"]


def test_flexible_and_vector_rows_are_reported_in_words() -> None:
    """Scope, invocations; types of a cooperative-vector combination."""
    (h200,) = devices_from(RECORDED / "caps-nvidia-h200.jsonl")
    bare = msgspec.structs.replace(h200, coopmat=Coopmat(khr=h200.coopmat.khr, nv_flexible=[], ext=[], cooperative_vector=[]))
    names = {c.name for c in changes(bare, h200, "tuple")}
    assert "NV flexible tuple 32x32x16 f16,f16,f32->f32 workgroup of 256" in names
    assert "cooperative-vector combination f16 as f16, matrix f16, bias f16 -> f16 transposed" in names
    assert isinstance((h200.coopmat.cooperative_vector or [])[0], VectorCombination)


def test_a_feature_that_is_off_on_both_sides_is_no_difference() -> None:
    """A new struct whose members are off offers nothing; one that is switched on appears."""
    off = with_features(recorded("lvp"), shaderInt16=False)
    bare = msgspec.structs.replace(off, features={"VkPhysicalDeviceFeatures": off.features["VkPhysicalDeviceFeatures"]})
    assert ("appeared", "VkPhysicalDeviceFeatures.shaderInt16") in pairs(changes(off, with_features(off, shaderInt16=True)))
    assert not [c for c in changes(bare, off, "feature") if not c.after]


def test_what_a_core_struct_repeats_is_reported_once() -> None:
    """shaderFloat16 stands in two structs, subgroup operations under two names."""
    device = recorded("lvp")
    assert len(changes(device, with_features(device, shaderFloat16=False), "feature")) == 1
    other = with_properties(device, supportedOperations=1, subgroupSupportedOperations=1)
    assert [c.name for c in changes(device, other, "property")] == ["VkPhysicalDeviceSubgroupProperties.supportedOperations"]


def test_a_file_with_fewer_facts_claims_nothing() -> None:
    """vulkaninfo's file of an H200 against the driver's own word: no extension, feature or tuple differs; the rest is untold."""
    (file,) = devices_from(RECORDED / "vulkaninfo-nvidia-h200-580.159.04.json")
    (live,) = devices_from(RECORDED / "caps-nvidia-h200.jsonl")
    diff = difference(file, live)
    assert not [c for c in diff.changes if c.section in ("extension", "feature", "tuple", "queue", "heap")]
    assert {"coopmat.khr", "coopmat.nv_flexible", "heaps"} <= set(diff.untold)
    assert "VkPhysicalDeviceCooperativeMatrix2FeaturesNV.cooperativeMatrixWorkgroupScope" in diff.untold


def test_a_struct_of_an_extension_that_is_not_there_is_absent_and_not_unknown() -> None:
    """lavapipe has no NV_cooperative_vector: the H200's feature appeared."""
    (live,) = devices_from(RECORDED / "caps-nvidia-h200.jsonl")
    assert ("appeared", "VkPhysicalDeviceCooperativeVectorFeaturesNV.cooperativeVector") in pairs(changes(recorded("lvp"), live))


@pytest.mark.parametrize(
    ("name", "relevant"),
    [
        ("VK_NV_cooperative_matrix_decode_vector", True),
        ("VK_EXT_cooperative_matrix_maintenance1", True),
        ("VK_EXT_shader_float8", True),
        ("VK_EXT_shader_ocp_microscaling_types", True),
        ("VK_VALVE_shader_mixed_float_dot_product", True),
        ("VK_KHR_shader_bfloat16", True),
        ("VK_EXT_shader_64bit_indexing", True),
        ("VkPhysicalDeviceProperties.limits.maxComputeSharedMemorySize", True),
        ("VK_KHR_ray_tracing_pipeline", False),
        ("VK_EXT_mesh_shader", False),
        ("VK_EXT_multisampled_render_to_single_sampled", False),
    ],
)
def test_what_matters_to_llm_inference_is_known_by_name(name: str, relevant: bool) -> None:
    """A requirement or a word in the name decides."""
    assert is_relevant(name) is relevant


def test_the_text_leads_with_llm_inference_and_ends_with_identity() -> None:
    """Blocks in order; what else appeared is listed by name."""
    text = as_text(difference(OLD, NEW), "table", width=100)
    places = [text.index(word) for word in ("What matters to LLM inference", "Other facts", "other extensions appeared", "Identity")]
    assert places == sorted(places)
    assert "VK_KHR_maintenance9" in text
    assert text.index("VK_VALVE_shader_mixed_float_dot_product") < places[1]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_text_stays_within_the_terminal(width: int) -> None:
    """Only a member's name that is wider than the terminal may exceed it."""
    for line in as_text(difference(OLD, NEW), "table", width=width).splitlines():
        assert len(line) <= width, line


def test_all_of_it_row_by_row() -> None:
    """--all lists nothing: every change has its row."""
    text = as_text(difference(OLD, NEW), "table", everything=True)
    assert "other extensions" not in text
    assert any(line.startswith("+") and "VK_KHR_maintenance9" in line for line in text.splitlines())


def test_json_holds_everything_by_section() -> None:
    """It has both devices, every change with its recorded values, and the facts that one side doesn't report."""
    diff = difference(OLD, NEW)
    whole = json.loads(as_text(diff, "json"))
    assert whole["before"]["device"] == "radv:navi31@trixie/0"
    assert whole["after"]["driver"]["api"] == "1.4.354"
    assert list(whole["changes"]) == ["tuple", "extension", "feature", "property", "queue", "heap", "identity"]
    assert sum(map(len, whole["changes"].values())) == len(diff.changes)
    row = next(r for r in whole["changes"]["property"] if r["name"].endswith("maxTexelBufferElements"))
    assert row == {
        "what": "changed",
        "name": "VkPhysicalDeviceProperties.limits.maxTexelBufferElements",
        "before": 4294967295,
        "after": 536870912,
        "relevant": False,
    }


def test_csv_is_one_flat_table_and_markdown_has_no_folds() -> None:
    """The CSV has a row for each change; Markdown tables have one line a row."""
    diff = difference(OLD, NEW)
    rows = list(csv.DictReader(io.StringIO(as_text(diff, "csv"))))
    assert len(rows) == len(diff.changes)
    assert rows[0]["section"] == "tuple"
    lines = as_text(diff, "md", width=80).splitlines()
    assert len([line for line in lines if line.startswith("| +")]) == len([c for c in diff.changes if c.relevant and c.what == "appeared"])
