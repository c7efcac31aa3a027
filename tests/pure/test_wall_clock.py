"""A device without usable timestamps is timed by the host's clock, and every table, page and machine format says so."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from msgspec.structs import replace

from tests.pure.sample_records import nvidia, result
from vkprobe.compare.compare import compare
from vkprobe.records import ResultRecord, Time
from vkprobe.report.compare import as_text as compared
from vkprobe.report.html import as_html
from vkprobe.report.matrix import build
from vkprobe.report.results import as_text as results_table
from vkprobe.report.text import as_text
from vkprobe.results.exports import google_benchmark, junit, pytest_benchmark
from vkprobe.results.exports.cells import exported
from vkprobe.results.store import Store

SENTENCE = "nvidia/0 is timed by the host's wall clock"


def cell(clock: Any = "wall") -> ResultRecord:
    """A cell that this clock timed."""
    record = result()
    assert isinstance(record.time, Time)
    return replace(record, time=replace(record.time, clock=clock, timestamp_period_ns=None if clock == "wall" else 1.0))


@pytest.mark.parametrize("form", ["table", "md"])
@pytest.mark.parametrize("clock", ["wall", "gpu"])
def test_tables_for_people_have_a_mark_and_a_note(form: str, clock: str) -> None:
    """The measuring verb's and the matrix; neither where the GPU's clock timed it."""
    for text in (results_table([cell(clock)], form), as_text(build(Store([nvidia(), cell(clock)])), form)):
        plain = " ".join(text.split())
        assert (SENTENCE in plain) is (clock == "wall")
        assert ("wall clock" in plain.replace(SENTENCE, "")) is (clock == "wall")


def test_machine_formats_name_the_clock() -> None:
    """A column of the measuring verb's, a field of each matrix cell, a word in the matrix' CSV."""
    assert [row["clock"] for row in json.loads(results_table([cell(), cell("gpu")], "json"))] == ["wall", "gpu"]
    assert next(csv.DictReader(io.StringIO(results_table([cell()], "csv"))))["clock"] == "wall"
    matrix = build(Store([nvidia(), cell()]))
    (section,) = [s for s in json.loads(as_text(matrix, "json"))["sections"] if s["kind"] == "measured"]
    assert section["rows"][0]["cells"]["nvidia/0"]["clock"] == "wall"
    assert "wall clock" in as_text(matrix, "csv")


def test_the_page_says_so_on_the_device_and_the_cell() -> None:
    """A warning on its card, a word in its cell and under its samples."""
    page, other = (as_html(build(Store([nvidia(), cell(clock)]))) for clock in ("wall", "gpu"))
    assert "Timed by the host&#39;s wall clock" in page or "Timed by the host's wall clock" in page
    assert page.count("wall clock") >= 4
    assert "wall clock" not in other


@pytest.mark.parametrize("form", ["table", "md", "csv", "json"])
def test_a_comparison_says_so(form: str) -> None:
    """A note for people, a field for machines."""
    text = compared(compare(Store([nvidia(), cell()]), Store([nvidia(), cell()])), form)
    assert "wall" in text
    assert "wall" not in compared(compare(Store([nvidia(), cell("gpu")]), Store([nvidia(), cell("gpu")])), form)


@pytest.mark.parametrize("encode", [junit.encode, google_benchmark.encode, pytest_benchmark.encode])
def test_exports_say_so(encode: Any) -> None:
    """Each where its format has room for it."""
    assert b"wall" in encode(exported(Store([nvidia(), cell()])))
