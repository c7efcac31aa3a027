"""The ladder in the matrix: what is counted, what is named, in every format."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec

from tests.pure.sample_records import RUN, at, khr, lavapipe, null_nvk, nvidia
from vkprobe.records import AnyRecord, LadderRecord
from vkprobe.report.html import as_html
from vkprobe.report.matrix import build
from vkprobe.report.text import as_text
from vkprobe.results.store import Store

_COOPMAT2 = "VkPhysicalDeviceCooperativeMatrix2FeaturesNV.cooperativeMatrix"


def climb(device: str, what: str | tuple[int, int, int], rung: str = "faster", **rest: Any) -> LadderRecord:
    """A climb with a feature, or with an f16 tuple of a shape."""
    fields: dict[str, Any] = {"status": "ok", **rest}
    if isinstance(what, str):
        fields["feature"] = what
    else:
        fields["tuple"] = msgspec.to_builtins(khr(*what, "f16", "f32"))
    return LadderRecord(run=RUN, at=at(30), device=device, rung=rung, **fields)  # type: ignore[arg-type]


def climbs() -> list[AnyRecord]:
    """Two tuples of which one is wrong on the CPU and slow on the GPU, and features."""
    slow = "takes 1.20 times the plain kernel's time"
    return [
        nvidia(),
        lavapipe(),
        null_nvk(),
        climb("nvidia/0", (16, 16, 16), ratio=0.25),
        climb("nvidia/0", (16, 8, 16), "correct", ratio=1.2, reason=slow),
        climb("embedded:lvp/0", (16, 16, 16), ratio=0.5),
        climb("embedded:lvp/0", (16, 8, 16), "runs", status="wrong", reason="3 of 128 elements differ"),
        climb("nvk:172/0", (16, 16, 16), "compiles", status="noop", reason="a null device compiles and executes nothing"),
        climb("nvidia/0", f"{_COOPMAT2}Reductions", "correct"),
        climb("embedded:lvp/0", f"{_COOPMAT2}Reductions", "advertised", status="unsupported", reason=f"{_COOPMAT2}Reductions is off"),
        *(climb("nvidia/0", f"subgroup{op} at 32", "correct") for op in ("Add", "Max")),
        climb("embedded:lvp/0", "subgroupAdd at 8", "correct"),
        climb("embedded:lvp/0", "subgroupMax at 8", "compiles", status="crash", reason="SIGSEGV"),
    ]


def row(text: str, label: str) -> list[str]:
    """The cells of a row of a Markdown table."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {label} "))
    return [part.strip() for part in line.split("|")[2:-1]]


def test_tuples_are_counted_and_the_ones_that_stand_out_named() -> None:
    """The count has correct and faster tuples; one that is wrong or slower anywhere is a row, with all devices beside it."""
    text = as_text(build(Store(climbs())), "md")
    assert row(text, "all, fixed shapes") == [
        "2 of 2 correct, 1 faster  0.25x to 1.20x",
        "1 of 2 correct, 1 faster, 1 WRONG  0.50x",
        "compiles",
    ]
    assert row(text, "16x8x16 f16,f16->f32 subgroup") == ["correct  1.20x", "runs, WRONG [1]", "-"]
    assert "| 16x16x16" not in text
    assert "[1] 3 of 128 elements differ" in text


def test_features_stand_beside_each_other() -> None:
    """The rung that each device reaches; subgroup operations in one row, whatever the subgroup's size."""
    text = as_text(build(Store(climbs())), "md")
    assert row(text, "cooperativeMatrixReductions") == ["correct", "advertised: feature is off", "-"]
    assert row(text, "subgroup operations") == ["2 of 2 correct", "1 of 2 correct, 1 CRASH [2]", "-"]
    assert "[2] subgroupMax at 8: SIGSEGV" in text


def test_what_is_wrong_on_the_ladder_is_on_top() -> None:
    """Each climb counts once, also where a row counts it and another names it."""
    matrix = build(Store(climbs()))
    assert matrix.alarms == ("1 crash on the ladder (embedded:lvp/0)", "1 wrong on the ladder (embedded:lvp/0)")
    assert matrix.headline.endswith("11 climbs on the ladder")


def test_a_device_that_executed_nothing_on_the_ladder_is_an_alarm() -> None:
    """Only null devices may execute nothing."""
    matrix = build(Store([nvidia(), climb("nvidia/0", (16, 16, 16), "compiles", status="noop", reason="nothing was written")]))
    assert matrix.alarms == ("1 executed nothing on the ladder (nvidia/0)",)


def test_the_ladder_is_in_every_format() -> None:
    """Markdown, CSV, the page, and in JSON each climb with its facts."""
    matrix = build(Store(climbs()))
    assert "| all, fixed shapes" in as_text(matrix, "md")
    rows = {tuple(line[:2]): line[2:] for line in csv.reader(io.StringIO(as_text(matrix, "csv")))}
    assert rows["Ladder of features", "cooperativeMatrixReductions"] == [
        "correct",
        "advertised: feature is off",
        "-: not climbed: the files hold no ladder record of it for this device",
    ]
    sections = {section["title"]: section for section in json.loads(as_text(matrix, "json"))["sections"]}
    cell_climbs = sections["Ladder of tuples"]["rows"][0]["cells"]["embedded:lvp/0"]["climbs"]
    assert [(c["rung"], c["status"], c["ratio"]) for c in cell_climbs] == [("faster", "ok", 0.5), ("runs", "wrong", None)]
    page = as_html(matrix)
    assert 'id="ladder-of-tuples"' in page
    assert "subgroupMax at 8: compiles, crash" in page
