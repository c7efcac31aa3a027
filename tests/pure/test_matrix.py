"""The matrix: every cell a value or a status with its reason; what stands out, what is noted, what is missing."""

from __future__ import annotations

import cProfile
import csv
import io
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from tests.pure.sample_records import NULL_REASON, RUN, device, lavapipe, null_nvk, null_radv, nvidia, pipeline, result, sample
from vkprobe.cli.matrix import matrix as matrix_verb
from vkprobe.errors import UsageError
from vkprobe.records import AnyRecord, DriverRecord, LadderRecord, encode
from vkprobe.report.html import as_html
from vkprobe.report.matrix import build
from vkprobe.report.model import Cell, Matrix
from vkprobe.report.tables import render
from vkprobe.report.text import as_json, as_text
from vkprobe.results.store import Store


def matrix_of(*records: AnyRecord, baseline: str | None = None) -> Matrix:
    """The matrix of some records."""
    return build(Store(records), baseline=baseline)


def cells(matrix: Matrix, title: str) -> dict[tuple[str, ...], tuple[Cell, ...]]:
    """A section's cells by row labels."""
    (section,) = [s for s in matrix.sections if s.title == title]
    return {row.labels: row.cells for row in section.rows}


def test_every_cell_is_a_value_or_a_status_with_its_reason() -> None:
    """No cell of the sample is empty."""
    for section in matrix_of(*sample()).sections:
        for row in section.rows:
            assert len(row.cells) == len(section.columns)
            for cell in row.cells:
                assert cell.text
                assert cell.status in ("ok", "met") or cell.reason, (row.labels, cell.status)


def test_columns_are_measured_devices_first_then_cpu_then_null() -> None:
    """The reader's eye starts at what was measured."""
    assert [c.id for c in matrix_of(*sample()).columns] == ["nvidia/0", "embedded:lvp/0", "radv:gfx1201/0", "nvk:172/0"]


def test_requirements_say_yes_partial_and_the_first_missing() -> None:
    """coopmat2: yes on NVIDIA, 4 of 7 on lavapipe, the missing extension on NVK."""
    row = cells(matrix_of(*sample()), "Requirements")[("coopmat2",)]
    assert [c.text for c in row] == ["yes", "partial 4 of 7", "no: VK_NV_cooperative_matrix2", "no: VK_NV_cooperative_matrix2"]


def test_gemm_is_in_flops_and_gemv_in_bytes_and_time() -> None:
    """Each op in the unit that decides it."""
    matrix = matrix_of(nvidia(), result(median=1e-3), result(op="gemv", path="scalar-f32", shape=(4096, 1, 4096), median=1e-5))
    (gemm,) = cells(matrix, "gemm").values()
    (gemv,) = cells(matrix, "gemv").values()
    assert gemm[0].text == "60.1 TFLOP/s"
    assert gemv[0].text.startswith("3.36 TB/s  ")
    assert gemv[0].text.endswith(" us")


def test_an_unsteady_value_is_marked_with_its_reason() -> None:
    """`~`, and why."""
    ((cell,),) = cells(matrix_of(nvidia(), result(steady=False)), "gemm").values()
    assert cell.text.startswith("~")
    assert "rounds differ" in (cell.reason or "")


@pytest.mark.parametrize("status", ["wrong", "crash", "timeout", "device-lost", "error"])
def test_failures_stand_out_and_are_counted_on_top(status: str) -> None:
    """They are in capitals in their cell, and in the first lines with the device's name."""
    matrix = matrix_of(nvidia(), result(status=status, reason="because"))  # type: ignore[arg-type]
    ((cell,),) = cells(matrix, "gemm").values()
    assert (cell.text, cell.reason) == (status.upper(), "because")
    assert matrix.alarms == (f"1 {status} (nvidia/0)",)


def test_noop_of_a_null_device_is_compiled_with_its_statistics() -> None:
    """Registers, spills and instructions of the same kernel's pipeline."""
    noop = result("radv:gfx1201/0", status="noop", reason=NULL_REASON)
    compiled = pipeline("radv:gfx1201/0", noop.kernel, "coopmat", "f16", registers=96, spills=4)
    ((cell,),) = cells(matrix_of(null_radv(), noop, compiled), "gemm").values()
    assert cell.text == "compiled 96r 4s 1204i"


def test_noop_of_a_real_device_is_a_failure() -> None:
    """A device that is no null device and executes nothing is an alarm."""
    matrix = matrix_of(nvidia(), result(status="noop", reason="the canary stayed poisoned"))
    assert matrix.alarms == ("1 executed nothing (nvidia/0)",)


def test_a_cell_without_a_record_says_so() -> None:
    """A path measured on one device only."""
    matrix = matrix_of(nvidia(), lavapipe(), result())
    ((_, other),) = cells(matrix, "gemm").values()
    assert (other.status, other.text) == ("absent", "-")
    assert "no record" in (other.reason or "")


def test_devices_with_different_tuples_share_a_row() -> None:
    """16x16x16 and 8x8x8 answer the same question."""
    matrix = matrix_of(nvidia(), lavapipe(), result(matrix_tuple="16x16x16"), result("embedded:lvp/0", matrix_tuple="8x8x8"))
    assert len(cells(matrix, "gemm")) == 1


def test_several_tuples_of_one_device_get_a_row_each() -> None:
    """No measured cell is hidden behind another."""
    matrix = matrix_of(nvidia(), result(matrix_tuple="16x16x16"), result(matrix_tuple="16x8x16"))
    assert len(cells(matrix, "gemm")) == 2


def test_one_device_under_two_driver_versions_is_two_columns() -> None:
    """Told apart by the version."""
    update = device("nvidia/0", version="590", run="later", second=50)
    matrix = matrix_of(nvidia(), result(), update, result(run="later", second=51, median=5e-4), baseline="580")
    assert [c.id for c in matrix.columns] == ["nvidia/0 580.159.4.0", "nvidia/0 590"]
    ((old, new),) = cells(matrix, "gemm").values()
    assert old.ratio is None
    assert new.ratio == pytest.approx(2.0)


def test_the_baseline_must_name_one_device() -> None:
    """The id or a part of the name selects it; none and several are errors that list the devices."""
    records = sample()
    assert matrix_of(*records, baseline="lvp").baseline == 1
    with pytest.raises(UsageError, match="several devices: nvidia/0, embedded"):
        matrix_of(*records, baseline="/0")
    with pytest.raises(UsageError, match="names no device"):
        matrix_of(*records, baseline="banana")


def test_what_is_missing_names_who_has_it() -> None:
    """lavapipe loses coopmat2; the NVIDIA device has it."""
    matrix = matrix_of(*sample())
    (loss,) = [x for x in matrix.losses if matrix.columns[x.column].id == "embedded:lvp/0" and x.path == "coopmat2"]
    assert "cooperativeMatrixWorkgroupScope off" in loss.missing
    assert [matrix.columns[i].id for i in loss.owners] == ["nvidia/0"]


def test_times_of_cpu_devices_are_not_judged() -> None:
    """One note on the device in place of a mark in each cell; JSON has it all."""
    cell = result("embedded:lvp/0", steady=False)
    matrix = matrix_of(lavapipe(), cell)
    text = as_text(matrix)
    assert text.count("runs on the CPU: times are not judged; they mean nothing absolute") == 1
    assert "~" not in text
    assert "unsteady" not in text
    (shown,) = json.loads(as_text(matrix, "json"))["sections"][1]["rows"][0]["cells"].values()
    assert shown["steady"] is False


def test_what_has_one_path_does_not_repeat_it_in_every_row() -> None:
    """A dequantisation has neither path nor accumulator; the one path of matrix-vector products is named above the table."""
    shapes = [(4096, n, 4096) for n in (1, 2)]
    vectors = [result(op="gemv", path="scalar-f32", shape=shape, accumulator="f32") for shape in shapes]
    text = as_text(matrix_of(nvidia(), *vectors, result(op="dequant", path="scalar-f32", weights="q4_0", accumulator="f32")))
    assert text.count("scalar-f32 f32acc") == 1
    assert "time per op; scalar-f32 f32acc" in text
    assert "scalar-f32" not in text[text.index("dequant:") :]


def test_a_driver_in_error_is_a_row_with_reason_and_remedy() -> None:
    """It has no column, but is not lost."""
    text = as_text(matrix_of(*sample()))
    assert "cannot open shared object file" in text
    assert "install the package" in text
    assert "1 driver failed" in text.splitlines()[2]


def test_long_reasons_are_footnotes_shared_by_their_cells() -> None:
    """The same reason twice is one footnote; a short reason stands in its cell."""
    long = "the device does not list the tuple 16x16x16 f16,f16->f32"
    matrix = matrix_of(
        nvidia(),
        result(status="unsupported", reason=long),
        result(weights="q4_0", status="unsupported", reason=long),
        result(weights="q8_0", status="skipped", reason="too slow"),
    )
    text = as_text(matrix)
    assert text.count(long) == 1
    assert text.count("unsupported [1]") == 2
    assert "skipped: too slow" in text


def test_a_result_of_an_unknown_device_still_has_a_column() -> None:
    """Its device record was in another file."""
    matrix = matrix_of(result("lost/0"))
    assert matrix.columns[0].name == "no device record"
    assert cells(matrix, "Requirements")[("coopmat",)][0].status == "unknown"


def test_compile_statistics_leave_out_devices_without_pipelines() -> None:
    """Only null devices have some in the sample."""
    (section,) = [s for s in matrix_of(*sample()).sections if s.kind == "pipelines"]
    assert section.columns == (2, 3)
    assert "442s" in as_text(matrix_of(*sample()))


def test_markdown_has_no_line_that_breaks_a_table() -> None:
    """Every table line has as many bars as its header, whatever the reasons hold."""
    text = as_text(matrix_of(nvidia(), result(status="error", reason="a|b")), "md")
    lines = [line for line in text.splitlines() if line.startswith("|") and "acc" in line]
    assert lines
    assert all(line.replace("\\|", "").count("|") == 4 for line in lines)


def test_csv_has_every_row_with_its_reason() -> None:
    """One line a row, readable by any CSV reader."""
    rows = list(csv.reader(io.StringIO(as_text(matrix_of(*sample()), "csv"))))
    assert rows[0] == ["section", "row", "nvidia/0", "embedded:lvp/0", "radv:gfx1201/0", "nvk:172/0"]
    assert {len(row) for row in rows} == {6}
    assert any(cell.startswith("WRONG: 3 of 2097152") for row in rows for cell in row)


def test_json_carries_values_and_missing_conditions() -> None:
    """Rates are numbers in FLOP/s; what is missing has need, have and source."""
    data = json.loads(as_text(matrix_of(*sample()), "json"))
    gemm = next(s for s in data["sections"] if s["title"] == "gemm")
    assert gemm["rows"][0]["cells"]["nvidia/0"]["value"] > 1e12
    requirement = data["sections"][0]["rows"][-1]["cells"]["embedded:lvp/0"]
    assert {"kind", "name", "need", "have", "source"} <= requirement["missing"][0].keys()
    assert msgspec.json.encode(as_json(matrix_of(*sample())))


def test_a_wide_table_is_split_to_the_terminal() -> None:
    """Each part repeats the row labels and fits."""
    text = as_text(matrix_of(*sample()), width=70)
    tables = [line for line in text.splitlines() if line.startswith(("workload", "path", "kernel"))]
    assert len(tables) > 5
    assert all(len(line) <= 70 for line in tables)


def test_one_column_wider_than_the_terminal_is_still_printed() -> None:
    """Nothing is cut."""
    assert "x" * 200 in render(("a", "b"), [("1", "x" * 200)], "table", width=40)


@pytest.mark.parametrize("format", ["table", "md", "csv", "json"])
def test_a_table_of_no_rows_is_no_error(format: str) -> None:
    """All four formats render nothing without complaint."""
    assert isinstance(render(("a", "b"), [], format), str)


def test_files_without_any_device_give_a_matrix_of_what_there_is() -> None:
    """A run whose only driver failed."""
    failed = DriverRecord(run="r", driver="broken", icd=None, state="error", reason="no vkCreateInstance")
    assert "no vkCreateInstance" in as_text(matrix_of(failed))


def test_the_verb_prints_and_writes(tmp_path: Path) -> None:
    """The table on stdout, the page in its file."""
    records = tmp_path / "a.jsonl"
    records.write_bytes(b"".join(encode(r) + b"\n" for r in sample()))
    page = tmp_path / "out.html"
    done = CliRunner().invoke(matrix_verb, [str(records), "--html", str(page), "--baseline", "nvidia"])
    assert done.exit_code == 0, done.output
    assert "WRONG" in done.output
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []


def test_a_page_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    """A missing folder is named."""
    records = tmp_path / "a.jsonl"
    records.write_bytes(encode(nvidia()) + b"\n")
    done = CliRunner().invoke(matrix_verb, [str(records), "--html", str(tmp_path / "no" / "x.html")])
    assert isinstance(done.exception, UsageError)


def test_the_work_of_a_table_grows_no_faster_than_its_records(tmp_path: Path) -> None:
    """Reading, building and rendering: twice the records take at most about twice the function calls."""
    records: list[AnyRecord] = [*sample()]
    shapes = [(m, n, k) for m in (64, 128, 256, 512, 1024) for n in range(1, 21) for k in (64, 128, 256, 512, 1024)]
    records += [
        result(name, shape=shape, path=path) for shape in shapes for name in ("nvidia/0", "embedded:lvp/0") for path in ("coopmat", "dot2")
    ]

    def calls(count: int) -> tuple[int, str]:
        path = tmp_path / f"{count}.jsonl"
        path.write_bytes(b"".join(encode(r) + b"\n" for r in records[:count]))
        profile = cProfile.Profile()
        text = profile.runcall(lambda: as_text(build(Store.load([path]))))
        return sum(entry.callcount for entry in profile.getstats()), text

    (half, _), (whole, text) = calls(1050), calls(2100)
    assert whole < 2.3 * half
    assert whole < 1500 * 2100
    assert len(text.splitlines()) > 900


def test_parts_of_a_missing_extension_need_no_words_of_their_own() -> None:
    """Without VK_NV_cooperative_matrix2 its features and tuples aren't listed one by one; independent conditions are."""
    matrix = matrix_of(*sample())
    words = {(matrix.columns[x.column].id, x.path): "; ".join(x.missing) for x in matrix.losses}
    assert words["nvk:172/0", "coopmat2"] == "VK_NV_cooperative_matrix2 not listed"
    assert "none with bf16 operands" in words["nvk:172/0", "coopmat-bf16"]


def test_flags_and_booleans_that_are_missing_read_as_words() -> None:
    """NVK lists no stage for required subgroup sizes; lavapipe's dot products are not accelerated."""
    properties = {
        "VkPhysicalDeviceVulkan13Properties": {
            "requiredSubgroupSizeStages": 0,
            "integerDotProduct4x8BitPackedSignedAccelerated": False,
        }
    }
    words = {x.path: "; ".join(x.missing) for x in matrix_of(device(properties=properties)).losses}
    assert words["subgroup-size-control"] == "requiredSubgroupSizeStages is 0, needed VK_SHADER_STAGE_COMPUTE_BIT"
    assert words["intdot"] == "integerDotProduct4x8BitPackedSignedAccelerated is false"


def test_records_of_facts_alone_say_that_nothing_was_measured() -> None:
    """`caps` records make a matrix of requirements."""
    assert matrix_of(nvidia(), lavapipe()).headline == "2 devices, nothing measured"


def headings(text: str, title: str) -> list[str]:
    """The column headings of the tables under a title."""
    lines = text.splitlines()
    return [lines[i + 2] for i, line in enumerate(lines) if line.startswith(title)]


def test_rows_that_only_a_cpu_device_has_are_a_table_of_their_own() -> None:
    """Its shapes are smaller: beside a GPU's they would be half a table of dashes."""
    text = as_text(matrix_of(nvidia(), lavapipe(), result(), result("embedded:lvp/0", shape=(256, 64, 256))))
    gpu, cpu = headings(text, "gemm")
    assert ("nvidia/0" in gpu, "embedded:lvp/0" in gpu) == (True, False)
    assert ("nvidia/0" in cpu, "embedded:lvp/0" in cpu) == (False, True)


def test_null_devices_beside_measured_ones_are_reported_in_a_line() -> None:
    """No column of `compiled`; but one that crashed keeps its column."""
    noop = result("radv:gfx1201/0", status="noop", reason=NULL_REASON)
    text = as_text(matrix_of(nvidia(), null_radv(), result(), noop))
    assert "radv" not in headings(text, "gemm")[0]
    assert "radv:gfx1201/0: 1 compiled" in text
    crashed = result("radv:gfx1201/0", status="crash", reason="SIGSEGV")
    assert "radv" in headings(as_text(matrix_of(nvidia(), null_radv(), result(), crashed)), "gemm")[0]


def test_tuples_are_shown_in_the_label_where_they_agree_and_in_the_cells_where_not() -> None:
    """Each device has a default tuple of its own."""
    same = as_text(matrix_of(nvidia(), lavapipe(), *(result(n, matrix_tuple="16x16x16") for n in ("nvidia/0", "embedded:lvp/0"))))
    assert "coopmat 16x16x16 f16acc" in same
    mixed = as_text(matrix_of(nvidia(), lavapipe(), result(matrix_tuple="16x16x16"), result("embedded:lvp/0", matrix_tuple="8x8x8")))
    (row,) = [line for line in mixed.splitlines() if "coopmat f16acc" in line]
    assert row.split("coopmat f16acc")[1].split()[2::3] == ["16x16x16", "8x8x8"]


def test_unsteady_cells_share_one_note() -> None:
    """The note has the cause and how far they are off."""
    matrix = matrix_of(nvidia(), result(steady=False), result(path="scalar-f32", steady=False))
    text = as_text(matrix)
    assert text.count("~ not steady: the last two rounds differ by 4.1 %;") == 1
    assert text.count("rounds differ") == 1
    assert "rounds differ" in as_text(matrix, "json")


def test_a_kernel_is_one_row_whatever_tiles_its_devices_have() -> None:
    """Two chips and two tiles make one row; each cell names its own tile."""
    one = pipeline("radv:gfx1201/0", "gemm_f16_coopmat", "coopmat", "f16", registers=96, spills=0)
    other = msgspec.structs.replace(one, device="nvk:172/0", tile="l 128x128")
    section = cells(matrix_of(null_radv(), null_nvk(), one, other), "Compile statistics")
    ((a, b),) = section.values()
    assert (a.variant, b.variant) == ("128x128x32 sg32", "l 128x128 sg32")


def test_a_driver_without_compile_statistics_is_reported_in_a_line() -> None:
    """It gets no column of `compiled`."""
    silent = pipeline("embedded:lvp/0", "gemm_f16_coopmat", "coopmat", "f16", registers=0, spills=0)
    silent = msgspec.structs.replace(silent, registers=None, spills=None, instructions=None)
    complete = pipeline("radv:gfx1201/0", "gemm_f16_coopmat", "coopmat", "f16", registers=96, spills=0)
    text = as_text(matrix_of(lavapipe(), null_radv(), silent, complete))
    assert "embedded:lvp/0: compiled 1 pipeline;" in text
    assert "embedded:lvp" not in headings(text, "Compile statistics")[0]


def test_the_dearest_gap_comes_first_with_what_it_is_worth() -> None:
    """coopmat was measured at four times the rate of the path that is taken today, on the GPU; a CPU device is no measure."""
    lacking = device("turnip:750/0")
    fast, slow = result(median=1e-3), result(path="scalar-f16", median=4e-3)
    cpu = [result("embedded:lvp/0", median=1e-3), result("embedded:lvp/0", path="scalar-f16", median=1.0)]
    first = matrix_of(nvidia(), lavapipe(), lacking, fast, slow, *cpu).losses[0]
    assert (first.path, first.dearest and first.dearest.measured_on) == ("coopmat", "nvidia/0")
    assert first.dearest is not None
    assert first.dearest.ratio == pytest.approx(4.0)


def test_a_gap_that_several_devices_have_is_reported_once() -> None:
    """The line has all their names."""
    text = as_text(matrix_of(*sample()))
    assert text.count("VK_NV_cooperative_matrix2 not listed") == 1
    assert "coopmat2: radv:gfx1201/0, nvk:172/0 lack it" in text


def test_features_that_were_not_climbed_are_not_called_right() -> None:
    """The matrix and the page say `not tested`; once a feature was climbed they don't."""
    feature = "VkPhysicalDeviceCooperativeMatrix2FeaturesNV.cooperativeMatrixReductions"
    tested = LadderRecord(run=RUN, device="nvidia/0", feature=feature, rung="correct", status="ok")
    quick, full = matrix_of(nvidia(), result()), matrix_of(nvidia(), result(), tested)
    assert "not tested: the ladder's features on nvidia/0" in as_text(quick)
    assert "not tested" not in as_text(full)
    assert "nothing wrong" in as_html(full)
    page = as_html(quick)
    assert "nothing wrong" not in page
    assert "not tested: the ladder&#39;s features on nvidia/0" in page
    assert json.loads(as_text(quick, "json"))["untested"] == ["nvidia/0"]
