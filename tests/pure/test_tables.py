"""Tables: the formats, folding, and the table of the measuring verbs."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest

from tests.pure.sample_records import NULL_REASON, pipeline, result, timing
from vkprobe.records import Time, Unsteady
from vkprobe.report.results import as_text
from vkprobe.report.steadiness import causes
from vkprobe.report.tables import render
from vkprobe.results.store import Store

LONG = "the device does not list the tuple 16x16x16 f16,f16->f32 of subgroup scope that this kernel is made of"


def test_one_column_is_folded_so_that_lines_stay_within_the_width() -> None:
    """The others keep theirs; no word is lost, and none is cut."""
    text = render(("a", "why"), [("x" * 20, "word " * 30 + "/a/path/that/stays/whole")], width=60, fold=1)
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("word") == 30
    assert "/a/path/that/stays/whole" in text


def test_nothing_is_folded_where_there_is_no_terminal() -> None:
    """A file is as wide as it needs to be."""
    assert any(LONG in line for line in render(("a", "why"), [("x", LONG)], fold=1).splitlines())


def test_a_reason_of_several_cells_is_reported_once() -> None:
    """The reason is a numbered note, and its cells have the number beside their status."""
    text = as_text([result(status="unsupported", reason=LONG, accumulator=a) for a in ("f16", "f32")], "table")
    assert text.count(LONG) == 1
    assert text.count("unsupported [1]") == 2


def test_what_all_rows_share_is_the_title() -> None:
    """One device, op, type and shape are not repeated in each row."""
    lines = as_text([result(), result(path="scalar-f32")], "table").splitlines()
    assert lines[0] == "nvidia/0  gemm  f16  4096x512x14336"
    assert sum("nvidia/0" in line for line in lines) == 1


def test_an_unsteady_time_is_marked_and_counted() -> None:
    """`~` before it, one line for all of them."""
    text = as_text([result(steady=False), result(path="scalar-f32", steady=False), result(path="intdot")], "table")
    assert text.count("  ~") == 2
    assert "3 ok (2 unsteady)" in text
    assert text.count("~ not steady: the last two rounds differ by 4.1 %") == 1


def test_unsteady_times_are_explained_by_their_causes() -> None:
    """One sentence for each cause, its numbers as a range, the most frequent first; a cause in words only is kept as it is."""
    unsteady = [Unsteady(cause="rounds-differ", numbers=(0.012,)), None, Unsteady(cause="rounds-differ", numbers=(0.115,))]
    times = [msgspec.structs.replace(timing(1e-3, steady=False), unsteady=one, unsteady_because="stopped") for one in unsteady]
    assert causes(times) == "the rounds differ by 1.2 to 11.5% (2 cells); stopped (1 cell)"


def test_older_sentences_about_unsteady_times_are_read_once() -> None:
    """A record that has the cause in words only gets it as data when the store takes it."""
    old = result(steady=False)
    assert isinstance(old.time, Time)
    record = msgspec.structs.replace(old, time=msgspec.structs.replace(old.time, unsteady_because="the rounds differ by 4.1%"))
    (lifted,) = Store([record]).results.values()
    assert isinstance(lifted.time, Time)
    assert lifted.time.unsteady is not None
    assert lifted.time.unsteady.cause == "rounds-differ"
    assert list(lifted.time.unsteady.numbers) == pytest.approx([0.041])


def test_times_of_a_cpu_device_are_not_judged() -> None:
    """One note on the device, no mark on its cells."""
    text = as_text([result(steady=False), result("lvp/0", steady=False)], "table", software={"lvp/0"})
    assert text.count("  ~") == 1
    assert "2 ok (1 unsteady)" in text
    assert "lvp/0 runs on the CPU: times are not judged" in text


def test_what_means_nothing_for_an_op_is_no_column() -> None:
    """A dequantisation accumulates nothing; a matrix-vector product has only one path."""
    dequant = as_text([result(op="dequant", path="scalar-f32", weights="q4_0", accumulator="f32")], "table")
    gemv = as_text([result(op="gemv", path="scalar-f32", shape=(64, n, 64), accumulator="f32") for n in (1, 2)], "table")
    assert "f32" not in dequant
    assert "scalar-f32" not in gemv


def test_failures_of_a_measuring_verb_stand_out() -> None:
    """They are in capitals, with their reason below."""
    text = as_text([result(), result(path="scalar-f32", status="wrong", reason="3 elements differ")], "table")
    assert "WRONG [1]" in text
    assert "[1] 3 elements differ" in text


def test_what_a_null_device_compiled_is_shown_with_its_statistics() -> None:
    """Registers, spills and instructions of the pipeline, and once that nothing was executed."""
    noop = [result("nvk:172/0", path=p, status="noop", reason=NULL_REASON) for p in ("coopmat", "scalar-f32")]
    text = as_text(noop, "table", pipelines=[pipeline("nvk:172/0", noop[0].kernel, "coopmat", "f16", registers=168, spills=51, matrix=64)])
    assert "168r 51s 1204i 64m" in text
    assert text.count(NULL_REASON) == 1


def test_the_table_of_a_verb_fits_a_narrow_terminal() -> None:
    """Tiles are the first to go: records have them."""
    results = [result(path=p, matrix_tuple="16x16x16") for p in ("scalar-f32", "coopmat")]
    wide, narrow = as_text(results, "table"), as_text(results, "table", width=70)
    assert "128x128x32" in wide
    assert "128x128x32" not in narrow
    assert max(map(len, narrow.splitlines())) <= 70


def test_programs_get_every_column_and_reason() -> None:
    """CSV and JSON have no notes to look up."""
    results = [result(), result(path="scalar-f32", status="unsupported", reason=LONG)]
    (_, first, _) = csv.reader(io.StringIO(as_text(results, "csv")))
    assert LONG in first
    assert [row["reason"] for row in json.loads(as_text(results, "json"))] == [LONG, None]


def test_programs_get_numbers_in_stored_units() -> None:
    """Seconds, FLOP/s and B/s under names that say so; null for what there is not."""
    timed, lost = json.loads(as_text([result(steady=False), result(path="scalar-f32", status="crash", reason="x")], "json"))[::-1]
    assert timed["time_s"] == pytest.approx(1e-3, rel=0.2)
    assert timed["ci95_low_s"] <= timed["time_s"] <= timed["ci95_high_s"]
    assert (timed["flops_per_s"], timed["bytes_per_s"]) == (pytest.approx(6.01e13, rel=1e-2), pytest.approx(1.17e11, rel=1e-2))
    assert (timed["steady"], timed["unsteady_because"]) == (False, "the last two rounds differ by 4.1 %")
    assert (timed["m"], timed["n"], timed["k"]) == (4096, 512, 14336)
    assert (lost["status"], lost["reason"], lost["time_s"], lost["steady"]) == ("crash", "x", None, None)
    row = next(csv.DictReader(io.StringIO(as_text([result()], "csv"))))
    assert float(row["time_s"]) == pytest.approx(1e-3, rel=0.2)


def test_no_results_are_no_error() -> None:
    """A choice that has no cell."""
    assert "device" in as_text([], "csv")
    assert isinstance(as_text([], "table"), str)
