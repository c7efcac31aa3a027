"""The table of spills: kernels of all types in a row, how many spill, and whether their tile forces it."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from tests.pure.sample_records import RUN, null_nvk, null_radv, pipeline
from vkprobe.records import AnyRecord, PipelineRecord
from vkprobe.report.compile import compile_matrix
from vkprobe.report.html import as_html
from vkprobe.report.matrix import build
from vkprobe.report.model import Matrix
from vkprobe.report.text import as_text
from vkprobe.results.store import Store

NVK, RADV = "nvk:172/0", "radv:gfx1201/0"


def gemm(device: str, weights: str, tile: str = "l 1", *, spills: int | None = 0, **changed: Any) -> PipelineRecord:
    """A GEMM's pipeline, 37 of 128 registers of tile."""
    record = pipeline(device, f"gemm_{weights}_scalar_f32", "scalar-f32", weights, registers=96, spills=spills or 0)
    return msgspec.structs.replace(
        record, **{"run": RUN, "tile": tile, "spills": spills, "tile_registers": 37, "register_budget": 128, **changed}
    )


def matrix(*pipelines: PipelineRecord) -> Matrix:
    """A matrix of two null devices."""
    records: list[AnyRecord] = [null_radv(), null_nvk(), *pipelines]
    return build(Store(records))


def rows(*pipelines: PipelineRecord) -> list[tuple[str, ...]]:
    """The table's labels and texts."""
    sections = [s for s in matrix(*pipelines).sections if s.kind == "spills"]
    return [(*row.labels, *(cell.text for cell in row.cells)) for s in sections for row in s.rows]


def test_types_share_a_row_beside_the_device_that_does_not_spill() -> None:
    """The most of them, how many of how many, and why."""
    records = [gemm(NVK, "f16", spills=7), gemm(NVK, "q4_0", spills=143), gemm(NVK, "q8_0"), gemm(RADV, "f16"), gemm(RADV, "q4_0")]
    columns = [matrix(*records).columns[i].key.device for s in matrix(*records).sections if s.kind == "spills" for i in s.columns]
    by_device = dict(zip(columns, rows(*records)[0][2:], strict=True))
    assert rows(*records)[0][:2] == ("gemm_*_scalar_f32", "l")
    assert by_device == {NVK: "143s in 2 of 3  compiler 37/128", RADV: "none of 2"}


def test_where_nothing_spills_there_is_no_table() -> None:
    """There is none either if drivers don't report spills."""
    assert rows(gemm(NVK, "f16"), gemm(RADV, "f16", spills=None)) == []


def test_sizes_and_columns_are_rows_the_worst_first() -> None:
    """Sizes that don't spill are left out."""
    records = [gemm(NVK, "f16", "s 1", spills=2), gemm(NVK, "f16", "m 1"), gemm(NVK, "f16", "l 1", spills=9)]
    assert [row[1] for row in rows(*records)] == ["l", "s"]


def test_tuples_and_workgroups_share_a_row() -> None:
    """Devices with other tuples or workgroups are comparable in one row."""
    records = [
        gemm(NVK, "f16", "l 1x1 1x1 16x16x16 1/32"),
        gemm(NVK, "f16", "l 1x1 1x1 16x8x16 1/32"),
        gemm(RADV, "f16", "l 2 2 8x8x8 1", spills=3),
    ]
    ((_, tile, *cells),) = rows(*records)
    assert tile == "l"
    assert sorted(cells) == ["3s in 1 of 1  compiler 37/128", "none of 2"]


@pytest.mark.parametrize(
    ("tile", "budget", "words"),
    [(146, 128, "tile 146/128"), (120, 128, "tight 120/128"), (37, 128, "compiler 37/128"), (None, 128, "unknown"), (37, None, "unknown")],
)
def test_the_verdict_is_with_the_spills(tile: int | None, budget: int | None, words: str) -> None:
    """The numbers behind it are there too."""
    assert rows(gemm(NVK, "f16", spills=1, tile_registers=tile, register_budget=budget))[0][2] == f"1s in 1 of 1  {words}"


def test_json_names_every_pipeline_that_spills() -> None:
    """Each has its registers, its tile's, the chip's, and the cause."""
    data = json.loads(as_text(matrix(gemm(NVK, "f16", spills=7), gemm(NVK, "q4_0", spills=9)), "json"))
    (section,) = (s for s in data["sections"] if s["kind"] == "spills")
    spilling = section["rows"][0]["cells"][NVK]["spilling"]
    assert [(p["kernel"], p["spills"], p["cause"]) for p in spilling] == [
        ("gemm_q4_0_scalar_f32", 9, "compiler"),
        ("gemm_f16_scalar_f32", 7, "compiler"),
    ]
    assert {(p["tile_registers"], p["register_budget"], p["registers"]) for p in spilling} == {(37, 128, 96)}


@pytest.mark.parametrize("form", ["table", "md", "csv"])
def test_all_formats_have_it(form: str) -> None:
    """`compile` prints it below its statistics, and counts in its headline."""
    text = as_text(compile_matrix(matrix(gemm(NVK, "f16", spills=7), gemm(RADV, "f16")), times=False), form)
    assert "7s in 1 of 1  compiler 37/128" in text
    assert "none of 1" in text
    if form != "csv":
        assert text.startswith("2 devices, 2 pipelines: 2 ok; 1 spills")
        assert "1 spills, most gemm_f16_scalar_f32 (7): 1 by what the compiler keeps live, their tile fits" in text


def test_the_page_shows_spills_before_the_statistics() -> None:
    """Red where the compiler is to blame, and a bar of all pipelines for each device."""
    failed = gemm(NVK, "q8_0", status="crash", reason="SIGSEGV", spills=None)
    page = as_html(matrix(gemm(NVK, "f16", spills=7), failed, gemm(NVK, "q4_0", spills=1, tile_registers=200), gemm(RADV, "f16")))
    assert page.index('id="spills"') < page.index('id="compile-statistics"')
    assert '<td class="ok spilling c-compiler"' in page
    bars = re.findall(r'<rect class="(s-\w+)"[^>]*><title>([^<]+)</title>', page)
    assert sorted(bars) == [
        ("s-compiler", f"{NVK}: 1 spill (compiler)"),
        ("s-failed", f"{NVK}: 1 crash"),
        ("s-none", f"{RADV}: 1 without spills"),
        ("s-tile", f"{NVK}: 1 spill (tile)"),
    ]


def test_older_records_have_neither_tile_nor_budget() -> None:
    """They read as unknown."""
    record = msgspec.to_builtins(gemm(NVK, "f16", spills=7))
    del record["tile_registers"], record["register_budget"]
    old = msgspec.convert(record, PipelineRecord)
    assert rows(old)[0][2] == "7s in 1 of 1  unknown"
