"""The caps table on records: real ones of real drivers, and made-up ones with what drivers have been seen to say."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vkprobe.device_facts import Coopmat, DriverIdentity, Heap, Queue
from vkprobe.records import DeviceRecord
from vkprobe.report import caps
from vkprobe.results.store import read_records

RECORDED = Path(__file__).parent.parent / "recorded"
NAMES = ("lvp", "nvk-172", "radv-gfx1201", "turnip-750", "anv-bmg")


def recorded(name: str) -> DeviceRecord:
    """The device of a recorded `caps --json`."""
    (device,) = (r for r in read_records(RECORDED / f"caps-{name}.jsonl") if isinstance(r, DeviceRecord))
    return device


def changed(device: DeviceRecord, **fields: Any) -> DeviceRecord:
    """The device with other fields."""
    return msgspec.structs.replace(device, **fields)


def with_member(device: DeviceRecord, kind: str, struct: str, **members: Any) -> DeviceRecord:
    """The device with other members in one feature or property struct."""
    structs = getattr(device, kind)
    return changed(device, **{kind: {**structs, struct: {**structs.get(struct, {}), **members}}})


def cell(device: DeviceRecord, label: str) -> str:
    """A device's cell in the line of that label."""
    (row,) = (r for r in caps.rows([device]) if r.label == label)
    return row.cells[0]


@pytest.mark.parametrize(
    ("name", "label", "expected"),
    [
        ("lvp", "KHR_cooperative_matrix", "yes, 4 tuples"),
        ("lvp", "NV_cooperative_matrix2", "partial: 4 of 7"),
        ("lvp", "coopmat2 missing", "workgroup scope, tensor addressing, block loads"),
        ("lvp", "coopmat2 flexible sizes", "4 entries to 1024 (subgroup)"),
        ("lvp", "integer dot product", "partial: 4x8 not accelerated"),
        ("lvp", "pipeline statistics", "no"),
        ("nvk-172", "KHR_cooperative_matrix", "yes, 18 tuples"),
        ("nvk-172", "coopmat f16 -> f16", "16x16x16 16x8x16 16x8x8"),
        ("nvk-172", "NV_cooperative_matrix2", "no"),
        ("nvk-172", "subgroup size", "32"),
        ("radv-gfx1201", "bf16", "yes"),
        ("radv-gfx1201", "coopmat fp8", "16x16x16"),
        ("radv-gfx1201", "subgroup size", "32 to 64, default 64"),
        ("radv-gfx1201", "timestamps", "64 bits, 10 ns"),
        ("turnip-750", "KHR_cooperative_matrix", "no"),
        ("turnip-750", "timestamps", "48 bits, 52.0833 ns"),
        ("anv-bmg", "NV_cooperative_matrix2", "partial: 1 of 7"),
        ("anv-bmg", "coopmat2 flexible sizes", "no"),
    ],
)
def test_real_drivers_read_as_they_are(name: str, label: str, expected: str) -> None:
    """Cells of recorded devices."""
    assert cell(recorded(name), label) == expected


def test_what_is_not_reported_is_unknown_everywhere_and_never_no() -> None:
    """A record that holds no facts shows unknown in every cell that is not about identity."""
    silent = changed(
        recorded("lvp"),
        driver=DriverIdentity(
            name=None, id=None, info=None, version=None, icd=None, build_id=None, api=None, conformance=None, kernel_module=None
        ),
        extensions={},
        features={},
        properties={},
        coopmat=Coopmat(khr=None, nv_flexible=None, ext=None),
        queues=None,
        heaps=None,
    )
    for row in caps.rows([silent]):
        if row.label != "device":
            assert "unknown" in row.cells[0], row
            assert "no" not in row.cells[0].replace("unknown", ""), row


def test_an_extension_listed_with_its_feature_off_is_no() -> None:
    """The table marks it as listed but off, unlike an extension that is absent."""
    off = with_member(recorded("nvk-172"), "features", "VkPhysicalDeviceCooperativeMatrixFeaturesKHR", cooperativeMatrix=False)
    assert cell(off, "KHR_cooperative_matrix") == "no (listed, off)"
    bf16 = dict.fromkeys(("shaderBFloat16Type", "shaderBFloat16DotProduct", "shaderBFloat16CooperativeMatrix"), False)
    off = with_member(recorded("radv-gfx1201"), "features", "VkPhysicalDeviceShaderBfloat16FeaturesKHR", **bf16)
    assert cell(off, "bf16") == "no (listed, off)"


def test_a_feature_struct_in_part_is_partial() -> None:
    """Missing members are named; unknown ones carry a question mark."""
    part = with_member(recorded("radv-gfx1201"), "features", "VkPhysicalDeviceShaderBfloat16FeaturesKHR", shaderBFloat16DotProduct=False)
    assert cell(part, "bf16") == "partial: 2 of 3 (missing dot)"
    part = with_member(part, "features", "VkPhysicalDeviceShaderBfloat16FeaturesKHR", shaderBFloat16CooperativeMatrix=None)
    assert cell(part, "bf16") == "partial: 1 of 3 (missing dot, coopmat?)"


@pytest.mark.parametrize(
    ("period", "shown"), [("inf", "inf"), ("nan", "nan"), (1.0, "1"), (83.33333587646484, "83.3333"), (None, "unknown")]
)
def test_timestamp_periods_come_through_as_they_are(period: float | str | None, shown: str) -> None:
    """An infinite period, which a real driver has, is shown as such."""
    limits = {**recorded("nvk-172").properties["VkPhysicalDeviceProperties"]["limits"], "timestampPeriod": period}
    device = with_member(recorded("nvk-172"), "properties", "VkPhysicalDeviceProperties", limits=limits)
    assert cell(device, "timestamps") == f"64 bits, {shown} ns"


def test_queues_without_timestamps_say_no() -> None:
    """0 valid bits on the compute queue means none; a sparse-only queue's bits don't count."""
    none = changed(recorded("nvk-172"), queues=[Queue(flags=["COMPUTE"], count=1, timestamp_bits=0)])
    assert cell(none, "timestamps") == "no, 0 bits, 1 ns"
    two = [Queue(flags=["SPARSE_BINDING"], count=1, timestamp_bits=0), Queue(flags=["COMPUTE"], count=1, timestamp_bits=36)]
    assert cell(changed(recorded("nvk-172"), queues=two), "timestamps") == "36 bits, 1 ns"


def test_zero_heaps_are_none_and_absent_heaps_unknown() -> None:
    """A driver without heaps is no error."""
    assert cell(changed(recorded("nvk-172"), heaps=[]), "heaps") == "none"
    assert cell(changed(recorded("nvk-172"), heaps=None), "heaps") == "unknown"
    both = [Heap(bytes=1 << 30, device_local=False), Heap(bytes=8 << 30, device_local=True)]
    assert cell(changed(recorded("nvk-172"), heaps=both), "heaps") == "8.00 GiB local; 1.00 GiB host"


def test_unknown_tuples_are_not_no_tuples() -> None:
    """A query that could not be made leaves its cells unknown; one that gave nothing says no."""
    lost = changed(recorded("nvk-172"), coopmat=Coopmat(khr=None, nv_flexible=None, ext=None))
    assert cell(lost, "KHR_cooperative_matrix") == "yes, tuples unknown"
    assert cell(lost, "coopmat f16 -> f32") == "unknown"
    assert cell(lost, "coopmat2 flexible sizes") == "unknown"
    empty = changed(recorded("nvk-172"), coopmat=Coopmat(khr=[], nv_flexible=[], ext=[]))
    assert cell(empty, "KHR_cooperative_matrix") == "no tuples"


def test_maintenance1_rows_are_counted_and_listed() -> None:
    """A device with EXT maintenance1 shows how many rows its query gave, and each with what was asked."""
    row = {"m_granularity": 16, "n_granularity": 16, "k_granularity": 16, "a": "f16", "b": "f16", "c": "f32", "result": "f32"}
    row |= {"scope": "workgroup", "invocations": 128, "subgroup_size": 0, "saturating": False}
    device = with_member(
        recorded("turnip-750"), "features", "VkPhysicalDeviceCooperativeMatrixMaintenance1FeaturesEXT", cooperativeMatrixProperties2=True
    )
    device = changed(device, coopmat=Coopmat(khr=[], nv_flexible=[], ext=[row]))
    assert cell(device, "EXT coopmat maintenance1") == "partial: 1 of 5, tuples: 1"
    assert caps.tuple_lines(device) == [("workgroup of 128, size varying", "16x16x16 n", "f16 x f16", "f32")]


def test_every_tuple_is_in_the_lines() -> None:
    """Grouping by shape and types loses no tuple."""
    for name in NAMES:
        device = recorded(name)
        accumulators = [accumulator for line in caps.tuple_lines(device) for accumulator in line[3].split(", ")]
        assert len(accumulators) == len(device.coopmat.khr or []) + len(device.coopmat.nv_flexible or []), name


def test_three_devices_fit_120_columns() -> None:
    """Long cells are folded so that three devices stand side by side."""
    text = caps.as_text([recorded(n) for n in ("lvp", "radv-gfx1201", "anv-bmg")], "table", width=120)
    table = text.split("\n\n")[0]
    assert max(map(len, table.splitlines())) <= 120
    assert all(f"{n}/0" in table.splitlines()[0] for n in ("embedded:lvp", "radv:gfx1201", "anv:bmg"))


def test_csv_and_json_hold_one_table() -> None:
    """Both parse, with a column for each device and the same cells as the table."""
    devices = [recorded("lvp"), recorded("nvk-172")]
    parsed = list(csv.reader(io.StringIO(caps.as_text(devices, "csv"))))
    assert parsed[0] == ["", "embedded:lvp/0", "nvk:172/0"]
    assert ["NV_cooperative_matrix2", "partial: 4 of 7", "no"] in parsed
    rows = json.loads(caps.as_text(devices, "json"))
    assert {"": "NV_cooperative_matrix2", "embedded:lvp/0": "partial: 4 of 7", "nvk:172/0": "no"} in rows


def test_all_of_one_device_holds_every_fact() -> None:
    """Each extension, feature and property has a line, nested limits one each."""
    device = recorded("nvk-172")
    labels = {row.label for row in caps.differences([device])}
    assert set(device.extensions) <= labels
    assert {f"{s}.{m}" for s, members in device.features.items() for m in members} <= labels
    assert "VkPhysicalDeviceProperties.limits.maxComputeSharedMemorySize" in labels


def test_all_of_several_devices_holds_only_what_differs() -> None:
    """Facts that two devices share are left out; an extension of only one is empty in the other's column."""
    rows = {row.label: row.cells for row in caps.differences([recorded("lvp"), recorded("nvk-172")])}
    assert rows["VK_NV_cooperative_matrix2"] == ["1", ""]
    assert "VK_KHR_cooperative_matrix" not in rows
    assert rows["VkPhysicalDeviceProperties.limits.maxComputeSharedMemorySize"] == ["32768", "49152"]
    assert caps.differences([recorded("lvp"), recorded("lvp")]) == []


def test_cooperative_vector_shows_its_combinations() -> None:
    """A recorded H200 has both features and 16 combinations; without the query, the cell shows the features alone."""
    h200 = recorded("nvidia-h200")
    assert cell(h200, "NV_cooperative_vector") == "yes, 16 combinations"
    unasked = changed(h200, coopmat=msgspec.structs.replace(h200.coopmat, cooperative_vector=None))
    assert cell(unasked, "NV_cooperative_vector") == "yes"
    assert cell(recorded("lvp"), "NV_cooperative_vector") == "no"
