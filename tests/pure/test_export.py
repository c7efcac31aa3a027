"""Exports: each format by its tool's documented fields, and what happens to cells without a number."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace
from pytest_benchmark import stats as tool

from tests.pure.sample_records import lavapipe, nvidia, pipeline, result, sample
from vkprobe.cli.export import FORMATS, export
from vkprobe.errors import UsageError
from vkprobe.records import AnyRecord, ResultRecord, Time, encode
from vkprobe.results.exports import bencher, google_benchmark, junit, pytest_benchmark
from vkprobe.results.exports.cells import counted, exported
from vkprobe.results.names import cell_name
from vkprobe.results.store import Store

LOST = ("crash", "timeout", "device-lost", "error")
IDLE = ("unsupported", "skipped", "noop")


def cells(*records: AnyRecord) -> list[Any]:
    """The cells that an export of these records has."""
    return exported(Store(records or sample()))


def written(path: Path, *records: AnyRecord) -> str:
    """A record file."""
    path.write_bytes(b"".join(encode(r) + b"\n" for r in records or sample()))
    return str(path)


def run(*arguments: object) -> Result:
    """The command."""
    return CliRunner().invoke(export, [str(a) for a in arguments])


def ok_of_sample() -> list[ResultRecord]:
    """The sample's cells that have numbers."""
    return [r for r in sample() if isinstance(r, ResultRecord) and r.status == "ok"]


def benchmarks(*records: AnyRecord) -> list[dict[str, Any]]:
    """pytest-benchmark's entries of records."""
    entries: list[dict[str, Any]] = json.loads(pytest_benchmark.encode(cells(*records)))["benchmarks"]
    return entries


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 24, 41, 42, 43])
def test_statistics_are_pytest_benchmarks_own(n: int) -> None:
    """Every field of its Stats, of every length modulo four, with an outlier."""
    data = [1e-3 * (1 + ((i * 7919) % 101) / 1000) for i in range(n - 1)] + [5e-3]
    untyped: Any = tool
    theirs = untyped.Stats()
    for value in data:
        theirs.update(value)
    wanted = {**theirs.as_dict(), "data": data, "iterations": 1}
    ours = pytest_benchmark.stats(data)
    assert list(ours) == list(wanted)
    assert {k: v for k, v in ours.items() if isinstance(v, str)} == {"outliers": wanted["outliers"]}
    for name, value in wanted.items():
        assert ours[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-12)), name


def test_pytest_benchmark_compare_reads_the_file(tmp_path: Path) -> None:
    """The tool itself: every cell with a number is a line of its table."""
    out = tmp_path / "out.json"
    assert run(written(tmp_path / "r.jsonl"), "--to", "pytest-benchmark", "-o", out).exit_code == 0
    tool = Path(sys.executable).with_name("pytest-benchmark")
    done = subprocess.run([tool, "compare", str(out), "--columns=min,median,ops"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^gem[mv]/|^dequant/", done.stdout, re.M)) == len(ok_of_sample())


def test_two_drivers_of_one_device_pair_up() -> None:
    """Full names and groups are the same; extra_info distinguishes the drivers."""
    here = nvidia()
    other = replace(here, device="nvk/0", driver=replace(here.driver, name="NVK", version="26.1.6"))
    one, two = benchmarks(here, result()), benchmarks(other, result("nvk/0"))
    assert [(b["fullname"], b["group"]) for b in one] == [(b["fullname"], b["group"]) for b in two]
    assert (one[0]["extra_info"]["driver"], two[0]["extra_info"]["driver"]) == ("NVIDIA", "NVK")
    assert one[0]["group"] == "10de:2335"
    assert one[0]["name"] == "gemm/f16/coopmat/f16/4096x512x14336/cold"
    assert one[0]["extra_info"]["kernel"] == one[0]["params"]["kernel"] == "gemm_f16_coopmat"


def test_two_drivers_in_one_file_have_names_of_their_own() -> None:
    """The device's id where that is enough, the version too where it is not."""
    here = nvidia()
    other = replace(here, device="nvk/0", driver=replace(here.driver, name="NVK"))
    assert [b["param"] for b in benchmarks(here, other, result(), result("nvk/0"))] == ["nvidia/0", "nvk/0"]
    newer = replace(here, run="2", driver=replace(here.driver, version="590"))
    entries = benchmarks(here, newer, result(), result(run="2"))
    assert [b["param"] for b in entries] == ["nvidia/0 580.159.4.0", "nvidia/0 590"]
    assert len({b["fullname"] for b in entries}) == 2


def test_every_cell_of_the_sample_has_a_name_of_its_own() -> None:
    """Tuples and accumulators included."""
    names = [c.fullname for c in cells()]
    assert len(set(names)) == len(names)


def test_a_cell_without_a_number_is_reported_and_not_timed() -> None:
    """pytest-benchmark and Google Benchmark list it beside the numbers; no entry has a zero."""
    lost = [c for c in cells() if c.result.status != "ok"]
    body = json.loads(pytest_benchmark.encode(cells()))
    omissions = body["vkprobe"]["without_number"]
    assert [(c["fullname"], c["status"], c["reason"]) for c in omissions] == [(c.fullname, c.result.status, c.result.reason) for c in lost]
    assert json.loads(google_benchmark.encode(cells()))["context"]["without_number"] == omissions
    assert not {c.fullname for c in lost} & {b["fullname"] for b in body["benchmarks"]}
    assert min(b["stats"]["min"] for b in body["benchmarks"]) > 0


def test_a_time_beside_another_status_is_no_number() -> None:
    """A doctored or foreign record may have one."""
    wrong = replace(result(), status="wrong", reason="nmse 0.5")
    assert [b["fullname"] for b in benchmarks(nvidia(), result(path="scalar-f32"), wrong)] == [
        "10de:2335/gemm/f16/scalar-f32/f16/4096x512x14336/cold"
    ]


def test_the_median_is_the_records(tmp_path: Path) -> None:
    """For a cell that climbed first, it leaves out the rounds before it settled."""
    time = result().time
    assert isinstance(time, Time)
    climbing = replace(time, samples_s=[3.0, 3.1, 3.2, 1.0, 1.1, 1.2], rounds=[0, 0, 0, 1, 1, 1], median_s=1.1)
    assert counted(climbing) == [1.0, 1.1, 1.2]
    assert counted(replace(climbing, median_s=7.0)) == climbing.samples_s
    for b in benchmarks():
        assert b["stats"]["median"] == pytest.approx(statistics.median(b["stats"]["data"]))


def test_google_benchmarks_repetitions_and_aggregates() -> None:
    """An entry a sample with its index, in ns, then mean, median, stddev and cv, of one run_name."""
    entries = json.loads(google_benchmark.encode(cells(nvidia(), result(median=2e-3))))["benchmarks"]
    samples = [e for e in entries if e["run_type"] == "iteration"]
    assert [e["repetition_index"] for e in samples] == list(range(24))
    assert {e["name"] for e in samples} == {e["run_name"] for e in entries}
    aggregates = {e["aggregate_name"]: e for e in entries if e["run_type"] == "aggregate"}
    assert [e["name"].removeprefix(samples[0]["name"]) for e in aggregates.values()] == ["_mean", "_median", "_stddev", "_cv"]
    times = [e["real_time"] for e in samples]
    assert aggregates["median"]["real_time"] == pytest.approx(statistics.median(times)) == pytest.approx(2e6, rel=0.01)
    assert aggregates["cv"]["real_time"] == pytest.approx(statistics.stdev(times) / statistics.mean(times))
    assert (aggregates["cv"]["aggregate_unit"], aggregates["median"]["aggregate_unit"]) == ("percentage", "time")
    for e in entries:  # what compare.py reads of each
        assert e["time_unit"] == "ns"
        assert isinstance(e["real_time"], float)
        assert isinstance(e["cpu_time"], float)
        assert {"name", "run_name", "run_type", "iterations", "repetitions", "threads", "family_index"} <= e.keys()


def test_bencher_metric_format() -> None:
    """Its JSON schema: benchmark -> measure -> numbers, `value` required; bounds on either side of the value, latency in ns."""
    body = json.loads(bencher.encode(cells()))
    assert len(body) == len(ok_of_sample())
    for name, measures in body.items():
        assert 0 < len(name) <= 1024
        assert {"latency", "throughput"} <= measures.keys()
        for slug, metric in measures.items():
            assert re.fullmatch(r"[a-z0-9-]{1,64}", slug)
            assert set(metric) == {"value", "lower_value", "upper_value"}
            assert all(isinstance(v, float) for v in metric.values())
            assert metric["lower_value"] <= metric["value"] <= metric["upper_value"]
    (measures,) = json.loads(bencher.encode(cells(nvidia(), result(median=2e-3)))).values()
    assert measures["latency"]["value"] == pytest.approx(2e6, rel=0.01)
    assert measures["throughput"]["value"] == pytest.approx(500, rel=0.01)


def test_junit_lists_every_cell() -> None:
    """A suite a device, a case a cell; the counts are those of the elements; the reasons are there."""
    root = ET.fromstring(junit.encode(cells()))
    assert [s.get("name") for s in root] == ["nvidia/0", "embedded:lvp/0", "radv:gfx1201/0", "nvk:172/0"]
    for suite in root:
        assert int(suite.get("tests", "")) == len(suite.findall("testcase"))
        for counter, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(counter, "")) == len(suite.findall(f"testcase/{element}"))
    (failure,), (error,) = root.findall(".//failure"), root.findall(".//error")
    assert "first at [17, 300]" in failure.get("message", "")
    assert "SIGSEGV" in error.get("message", "")
    assert error.get("type") == "crash"
    timed = [c for c in root.iter("testcase") if c.get("time")]
    assert len(timed) == len(ok_of_sample())
    assert {p.get("name") for p in timed[0].iter("property")} >= {"median_s", "ci95_low_s", "steady", "check_nmse"}


@pytest.mark.parametrize("status", [*LOST, *IDLE, "wrong"])
def test_junits_element_of_a_status(status: Any) -> None:
    """Wrong is a failure, a loss an error, what could not be tried is skipped; a driver's control characters are written out."""
    here = replace(nvidia(), null=status == "noop")
    root = ET.fromstring(junit.encode(cells(here, result(status=status, reason="\x1b[31mlost\x00 <&> \ud7ff"))))
    (case,) = root.iter("testcase")
    (end,) = (child for child in case if child.tag != "properties")
    assert end.tag == ("failure" if status == "wrong" else "error" if status in LOST else "skipped")
    assert "\\x1b[31mlost\\x00 <&> \ud7ff" in end.get("message", "")
    assert case.get("time") is None


@pytest.mark.parametrize("form", FORMATS)
def test_the_command_writes_file_and_standard_output_alike(tmp_path: Path, form: str) -> None:
    """The exit status is 0; stderr has the number of cells without a result, except for junit, which lists them all."""
    source, out = written(tmp_path / "r.jsonl"), tmp_path / "out"
    to_file, to_stdout = run(source, "--to", form, "-o", out), run(source, "--to", form, "-o", "-")
    assert (to_file.exit_code, to_stdout.exit_code) == (0, 0)
    assert out.read_text() == to_stdout.stdout
    assert ("1 crash, 1 wrong" in to_file.stderr) == (form != "junit")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_junit_lists_pipelines_where_nothing_was_measured(tmp_path: Path) -> None:
    """A gate without a GPU gets a case for each pipeline with its statistics; a crashed one is an error."""
    good = pipeline("nvidia/0", "gemm_f16", "coopmat", "f16", registers=96, spills=4)
    bad = replace(good, kernel="gemm_q4_0", status="crash", reason="killed by SIGABRT")
    done = run(written(tmp_path / "r.jsonl", nvidia(), good, bad), "--to", "junit", "-o", tmp_path / "out")
    assert done.exit_code == 0
    (suite,) = ET.fromstring((tmp_path / "out").read_bytes())
    assert (suite.get("name"), suite.get("tests"), suite.get("errors")) == ("nvidia/0 compile", "2", "1")
    one, two = suite.iter("testcase")
    assert (one.get("name"), two.get("name")) == ("compile/gemm_f16/128x128x32", "compile/gemm_q4_0/128x128x32")
    assert {p.get("name"): p.get("value") for p in one.iter("property")}["spills"] == "4"
    (error,) = two.iter("error")
    assert (error.get("type"), error.get("message")) == ("crash", "killed by SIGABRT")


def test_noop_of_a_device_that_is_not_null_is_an_error() -> None:
    """It executed nothing, which a null device alone may."""
    (case,) = ET.fromstring(junit.encode(cells(nvidia(), result(status="noop", reason="a canary")))).iter("testcase")
    (error,) = case.iter("error")
    assert (error.get("type"), error.get("message")) == ("noop", "a canary")


def test_junit_lists_pipelines_beside_cells(tmp_path: Path) -> None:
    """A pipeline that crashed is not lost because something was measured."""
    bad = replace(pipeline("nvidia/0", "gemm_q4_0", "coopmat", "q4_0", registers=96, spills=4), status="crash", reason="SIGABRT")
    assert run(written(tmp_path / "r.jsonl", nvidia(), result(), bad), "--to", "junit", "-o", tmp_path / "out").exit_code == 0
    root = ET.fromstring((tmp_path / "out").read_bytes())
    assert [(s.get("name"), s.get("errors")) for s in root] == [("nvidia/0", "0"), ("nvidia/0 compile", "1")]
    assert root.get("errors") == "1"


def test_two_hosts_devices_of_one_id_are_two(tmp_path: Path) -> None:
    """Suites, compile suites and Google Benchmark's devices, each with its own identity."""
    one = nvidia()
    two = replace(one, run="2", name="another card", hardware=replace(one.hardware, device_id=0x1234))
    shader = pipeline("nvidia/0", "gemm_f16", "coopmat", "f16", registers=96, spills=4)
    records: list[AnyRecord] = [one, two, result(), result(run="2"), shader, replace(shader, run="2")]
    assert run(written(tmp_path / "r.jsonl", *records), "--to", "junit", "-o", tmp_path / "out").exit_code == 0
    suites = list(ET.fromstring((tmp_path / "out").read_bytes()))
    ids = ("10de:2335", "10de:1234")
    assert [s.get("name") for s in suites] == [f"nvidia/0{kind} ({hardware})" for kind in ("", " compile") for hardware in ids]
    properties = [{p.get("name"): p.get("value") for p in s.findall("properties/property")} for s in suites]
    assert [t["device_name"] for t in properties] == [one.name, "another card"] * 2
    devices = json.loads(google_benchmark.encode(cells(*records)))["context"]["devices"]
    assert [d["device_name"] for d in devices] == [one.name, "another card"]


def _grammar(_: str) -> float:
    raise AssertionError("Infinity and NaN are no JSON")


@pytest.mark.parametrize("form", [bencher, google_benchmark, pytest_benchmark])
def test_what_is_not_finite_is_left_out(form: Any) -> None:
    """Rates, bounds and zero bounds are left out if they aren't finite; the numbers beside them stay."""
    time = result().time
    assert isinstance(time, Time)
    for low, high in ((0.0, float("inf")), (float("nan"), float("nan"))):
        odd = replace(result(), flops_per_s=float("inf"), time=replace(time, ci95_s=(low, high)))
        data = form.encode(cells(nvidia(), odd))
        json.loads(data, parse_constant=_grammar)
        assert b"10de:2335/gemm/f16" in data
        assert b"FLOP" not in data
        assert b'"flops' not in data
        junit.encode(cells(nvidia(), odd))


@pytest.mark.parametrize("median", [0.0, -1.0, float("inf"), float("nan")])
def test_a_median_that_is_no_time_is_no_number(median: float) -> None:
    """The cell is listed among those without a number; so is a cell with a sample that is no time."""
    time = result().time
    assert isinstance(time, Time)
    odd = replace(result(path="scalar-f32"), time=replace(time, median_s=median))
    for bad in (odd, replace(odd, time=replace(time, samples_s=[median, *time.samples_s[1:]])) if median else odd):
        assert len(benchmarks(nvidia(), result(), bad)) == 1
        omissions = json.loads(google_benchmark.encode(cells(nvidia(), result(), bad)))["context"]["without_number"]
        assert [(c["status"], c["reason"]) for c in omissions] == [("ok", "its record holds no time that is finite and > 0")]
        with pytest.raises(UsageError, match="1 ok without a time"):
            bencher.encode(cells(nvidia(), bad))


def test_a_cells_name_is_the_one_that_compare_knows() -> None:
    """A name from a failure can be pasted into --fails and --cell."""
    every = cells()
    assert [c.name for c in every] == [cell_name(c.result) for c in every]
    names = {case.get("name") for case in ET.fromstring(junit.encode(every)).iter("testcase")}
    assert names == {cell_name(c.result) for c in every}


@pytest.mark.parametrize("form", FORMATS)
def test_records_without_cells_are_refused(tmp_path: Path, form: str) -> None:
    """One sentence that says what there is; nothing is written."""
    done = run(written(tmp_path / "r.jsonl", nvidia(), lavapipe()), "--to", form, "-o", tmp_path / "out")
    assert isinstance(done.exception, UsageError)
    assert "no cell was measured in these records (they hold 2 devices)" in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", [f for f in FORMATS if f != "junit"])
def test_cells_of_which_none_has_a_number_are_refused(tmp_path: Path, form: str) -> None:
    """An empty table of times would pass for a good run; junit takes them."""
    source = written(tmp_path / "r.jsonl", nvidia(), result(status="crash", reason="killed by SIGSEGV"))
    done = run(source, "--to", form, "-o", tmp_path / "out")
    assert isinstance(done.exception, UsageError)
    assert "none of 1 cells has a number (1 crash)" in str(done.exception)
    assert run(source, "--to", "junit", "-o", tmp_path / "out").exit_code == 0


def test_bad_input_and_output_are_refused(tmp_path: Path) -> None:
    """A file that is empty, missing or something else, an output that is an input, an unknown format: status 2 each."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("hello\n")
    for name in ("empty", "text", "missing"):
        done = run(tmp_path / name, "--to", "junit", "-o", tmp_path / "out")
        assert isinstance(done.exception, UsageError), name
        assert str(tmp_path / name) in str(done.exception)
    source = written(tmp_path / "r.jsonl")
    assert isinstance(run(source, "--to", "junit", "-o", source).exception, UsageError)
    assert isinstance(run(source, "--to", "junit", "-o", tmp_path).exception, UsageError)
    assert run(source, "--to", "yaml", "-o", tmp_path / "out").exit_code == 2
