"""The ladder's table: what stands where, and that it stays within the terminal."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from vkprobe.records import LadderRecord
from vkprobe.report.ladder import as_text

NV = "VkPhysicalDeviceCooperativeMatrix2FeaturesNV"
EXT = "VkPhysicalDeviceCooperativeMatrixMaintenance1FeaturesEXT"
DOT = "VkPhysicalDeviceShaderIntegerDotProductFeatures.shaderIntegerDotProduct"
VALVE = "VkPhysicalDeviceShaderMixedFloatDotProductFeaturesVALVE"


def record(feature: str | None = None, **more: Any) -> LadderRecord:
    """A record that ended well, but for what is said otherwise."""
    return LadderRecord(**{"run": "r", "device": "a/0", "feature": feature, "rung": "correct", "status": "ok", **more})


TUPLE = {
    "m": 16, "n": 16, "k": 16, "a": "f16", "b": "f16", "c": "f32", "result": "f32", "saturating": False, "scope": "subgroup"
}  # fmt: skip
RECORDS = [
    record(tuple=TUPLE, rung="faster", ratio=0.25, facts={"accumulator_bits": 24, "subnormal_operands": "kept"}),
    record(f"{NV}.cooperativeMatrixReductions"),
    record(f"{NV}.cooperativeMatrixReductions beyond one granule", rung="runs", status="wrong", reason="the sum of each row: 3 differ"),
    record(f"{NV}.cooperativeMatrixBlockLoads", rung="advertised", status="unsupported", reason=f"{NV}.cooperativeMatrixBlockLoads is off"),
    record(f"{EXT}.cooperativeMatrixReductions", rung=None, status="unsupported", reason="the device does not list VK_EXT_x"),
    record(f"{VALVE}.shaderMixedFloatDotProductFloat16AccFloat32", rung="queried", status="crash", reason="SIGSEGV"),
    record(f"{DOT} 4x8BitPackedSigned", ratio=1.0, facts={"accelerated": True}, reason="takes 1.00 times the plain kernel's time"),
    record(f"{DOT} 4x8BitPackedUnsigned", ratio=1.25, facts={"accelerated": True}, reason="takes 1.25 times the plain kernel's time"),
    record(f"{DOT} AccumulatingSaturating8BitSigned", rung="faster", ratio=0.5, facts={"accelerated": False}),
    *(record(f"subgroup{name} at 32", facts={"subgroup_size": 32}) for name in ("Add", "Max", "Ballot")),
    record("subgroupAdd at 64", rung="compiles", status="noop", reason="a null device compiles and executes nothing"),
]


def test_forms_that_end_alike_share_a_row() -> None:
    """Each of the others has its own; further rows of a feature leave its name out."""
    assert as_text(RECORDS, "table", width=120).splitlines()[2:] == [
        "16x16x16 f16,f16->f32 subgroup        faster          0.25 x plain time; 24 bits, subnormal operands kept",
        "cooperativeMatrixReductions (NV)      correct",
        "... beyond one granule                runs, WRONG     the sum of each row: 3 differ",
        "cooperativeMatrixBlockLoads           advertised      the feature is off",
        "cooperativeMatrixReductions (EXT)     not listed      the device does not list VK_EXT_x",
        "shaderMixedFloatDotProductFloat16Acc  queried, CRASH  SIGSEGV",
        "  Float32",
        "shaderIntegerDotProduct, 2 forms      correct         1.00 to 1.25 x plain time; accelerated; 4x8BitPackedSigned,",
        "                                                        4x8BitPackedUnsigned",
        "... saturating 8BitSigned             faster          0.50 x plain time; not accelerated",
        "subgroup operations at 32             correct         subgroup size 32; Add, Max, Ballot",
        "subgroupAdd at 64                     compiles",
        "",
        "6 correct, 2 faster, 1 wrong, 2 unsupported, 1 crash, 1 noop; a null device compiles and executes nothing",
    ]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_table_fits_the_terminal(width: int) -> None:
    """The table isn't split."""
    lines = as_text(RECORDS, "table", width=width).split("\n\n")[0].splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.startswith("---") for line in lines) == 1


def test_machine_formats_have_a_row_for_each_record() -> None:
    """A row has the whole name, the ratio as a number of its own, and the reason."""
    rows = list(csv.DictReader(io.StringIO(as_text(RECORDS, "csv"))))
    assert len(rows) == len(RECORDS)
    assert rows[6]["tuple or feature"] == f"{DOT} 4x8BitPackedSigned"
    assert (rows[6]["x plain time"], rows[6]["why no higher"]) == ("1.00", "takes 1.00 times the plain kernel's time")
    assert [row["rung"] for row in json.loads(as_text(RECORDS, "json"))][4] == ""


def test_several_devices_are_distinguished() -> None:
    """Their rows are never shared."""
    other = [LadderRecord(run="r", device="b/0", feature=f"subgroup{n} at 32", rung="correct", status="ok") for n in ("Add", "Max")]
    text = as_text([*RECORDS[9:12], *other], "table", width=120)
    assert [line.split("  ")[0] for line in text.splitlines()[2:4]] == ["a/0", "b/0"]
