"""The measuring verbs from end to end on lavapipe: what they print, what they record."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import BRIEF, Measured, doctored, first, gemvs, selected
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.ops.plan import Plan, plans
from vkprobe.records import DeviceRecord, ResultRecord
from vkprobe.results.store import read_records
from vkprobe.session.campaign import exit_status
from vkprobe.session.opening import open_request
from vkprobe.session.policy import Policy
from vkprobe.session.run import DeviceRun

LAVAPIPE = ("--driver", "embedded:lvp")


def command(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """A command line that ends with this status."""
    done = subprocess.run([sys.executable, "-m", "vkprobe", *arguments], capture_output=True, text=True, timeout=600)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


SEVERAL = replace(BRIEF, least_rounds=3, most_rounds=3)


def measured(spec: DriverSpec, planned: Sequence[Plan], device: DeviceRecord, policy: Policy = BRIEF) -> Measured:
    """Measure plans as they are given, even doctored ones."""
    outcome = Measured()
    request = open_request(device, [p.requirement for p in planned])
    DeviceRun(spec, device, request, planned, run="run", policy=policy, sink=outcome.records.append, progress=outcome).measure()
    return outcome


@pytest.fixture(scope="module")
def lines(embedded: dict[str, DriverSpec], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The records that one command of several cells printed; the same ones are in its file."""
    path = tmp_path_factory.mktemp("measuring") / "r.jsonl"
    done = command("gemv", *LAVAPIPE, "--type", "q4_0,f16", "--shape", "64,1,96", "--shape", "33,2,64", "--json", "-o", str(path))
    assert done.stdout == path.read_text()
    assert done.stderr
    assert len(list(read_records(path))) == len(done.stdout.splitlines())
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_stdout_holds_records_and_nothing_else(lines: list[dict[str, Any]]) -> None:
    """Run, driver, device, then pipelines and results, all of one run."""
    assert [r["kind"] for r in lines[:3]] == ["run", "driver", "device"]
    assert all(next(iter(r)) == "kind" for r in lines)
    assert {r["kind"] for r in lines[3:]} == {"pipeline", "result"}
    assert len({r["run"] for r in lines}) == 1


def test_results_are_whole(lines: list[dict[str, Any]]) -> None:
    """A time and a check with ok; samples, rounds and wall samples of one length; rates from the median."""
    results = [r for r in lines if r["kind"] == "result"]
    assert sorted((r["type"], r["path"], *r["axes"].values(), r["status"]) for r in results) == [
        (weight_type, path, m, n, k, "ok")
        for weight_type, path in (("f16", "scalar-f32"), ("q4_0", "intdot"), ("q4_0", "scalar-f32"))
        for m, n, k in ((33, 2, 64), (64, 1, 96))
    ]
    for result in results:
        assert list(result["axes"]) == ["m", "n", "k"]
        m, n, k = result["axes"].values()
        time, check = result["time"], result["check"]
        assert len(time["samples_s"]) == len(time["rounds"]) == len(time["wall_samples_s"]) >= 3
        assert set(time["rounds"]) == {0}  # software devices have one
        assert time["ci95_s"][0] <= time["median_s"] <= time["ci95_s"][1]
        assert all(gpu > 0 for gpu in time["samples_s"])
        assert (time["clock"], time["timestamp_period_ns"]) == ("gpu", 1.0)
        assert time["steady"] == (time["unsteady_because"] is None)
        assert result["flops_per_s"] == pytest.approx(2 * m * n * k / time["median_s"])
        assert 0 <= check["nmse"] <= check["bound"]
        assert result["compile_s"] > 0
        assert result["working_set_bytes"] > 2 * m * k * 2  # several copies of the weights
        assert len(result["spirv_sha"]) == 64


def test_a_hot_cell_has_one_copy_of_its_weights(embedded: dict[str, DriverSpec]) -> None:
    """It is another cell than the cold one."""
    done = command("gemv", *LAVAPIPE, "--type", "f16", "--shape", "64,1,96", "--hot", "--json")
    (result,) = (r for r in map(json.loads, done.stdout.splitlines()) if r["kind"] == "result")
    assert result["residency"] == "hot"
    assert result["working_set_bytes"] == 64 * 96 * 2 + 4 * 96 + 4 * 64


def test_a_coopmat_gemm_is_ok_and_checked(embedded: dict[str, DriverSpec]) -> None:
    """Both accumulators, with and without ragged edges."""
    shapes = ("--shape", "256,256,256", "--shape", "250,130,96")
    done = command("gemm", "--coopmat", "--type", "f16", *shapes, *LAVAPIPE, "--json")
    results = [r for r in map(json.loads, done.stdout.splitlines()) if r["kind"] == "result"]
    outcomes = {(r["axes"]["m"], r["accumulator"], r["tuple"], r["status"]) for r in results}
    assert outcomes == {(m, accumulator, "8x8x8", "ok") for m in (256, 250) for accumulator in ("f16", "f32")}
    assert all(r["check"]["nmse"] <= r["check"]["bound"] for r in results)


def test_the_table_is_on_stdout_and_progress_on_stderr(embedded: dict[str, DriverSpec]) -> None:
    """Without --json; a dequant has no FLOP rate."""
    done = command("dequant", *LAVAPIPE, "--type", "q8_0", "--shape", "64,1,96")
    assert "64x1x96" in done.stdout
    assert "B/s" in done.stdout
    assert "FLOP/s" not in done.stdout
    assert "[1/1]" not in done.stdout
    assert "[1/1] embedded:lvp/0 compile dequant_q8_0" in done.stderr


def test_an_unsupported_tuple_is_no_failure(embedded: dict[str, DriverSpec]) -> None:
    """A status with its reason, exit status 0, and no time."""
    done = command("gemm", "--coopmat", "--tuple", "16x16x16", "--type", "f16", "--shape", "32,32,32", *LAVAPIPE, "--json")
    results = [r for r in map(json.loads, done.stdout.splitlines()) if r["kind"] == "result"]
    assert [r["status"] for r in results] == ["unsupported"] * 2
    assert all("16x16x16" in r["reason"] and "time" not in r and "check" not in r for r in results)


def test_a_driver_that_fails_does_not_stop_the_others(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """Exit status 4; the good one's cells are there."""
    (tmp_path / "broken.json").write_text("{")
    arguments = ("gemv", "--driver", str(tmp_path / "broken.json"), *LAVAPIPE, "--type", "f16", "--shape", "64,1,64", "--json")
    done = command(*arguments, status=4)
    assert [json.loads(line).get("status") for line in done.stdout.splitlines()][-1] == "ok"
    assert "not JSON" in done.stderr


def test_a_wrong_kernel_ends_wrong(embedded: dict[str, DriverSpec]) -> None:
    """The cell has a check and no time, the exit status is 3, and the cell beside it is measured."""
    (device,) = gather([embedded["lvp"]], "run").devices
    one, second = plans(gemvs(1, 2)(device), device)
    short = replace(one, program=doctored(one.program, groups=(first(one.program).groups[0] - 1, 1, 1)))
    outcome = measured(embedded["lvp"], [short, second], device)
    assert sorted(outcome.statuses) == ["ok", "wrong"]
    (wrong,) = (r for r in outcome.results if r.status == "wrong")
    assert wrong.reason == "2 of 64 output elements were never written"
    assert wrong.check
    assert wrong.check.nmse == "nan"
    assert not wrong.time
    assert not wrong.flops_per_s
    assert exit_status(outcome.results, frozenset()) == 3


def test_cells_that_share_weights_do_not_disturb_each_other(embedded: dict[str, DriverSpec]) -> None:
    """gemv, gemm and dequant of one type share weights, and a wrong cell among them gives its buffers back."""
    (device,) = gather([embedded["lvp"]], "run").devices
    cells = [
        *selected(device, "gemv", (64, 1, 64), (64, 2, 64), types=["q4_0"]),
        *selected(device, "gemm", (64, 16, 64), types=["q4_0"], paths=["scalar-f32"]),
        *selected(device, "dequant", (64, 1, 64), types=["q4_0"]),
        *selected(device, "gemv", (64, 1, 64), types=["q8_0"]),
    ]
    planned = plans(cells, device)
    (short,) = (i for i, c in enumerate(cells) if (c.op, c.variant.path, dict(c.axes).get("n")) == ("gemv", "scalar-f32", 2))
    planned[short] = replace(planned[short], program=doctored(planned[short].program, groups=(1, 1, 1)))
    outcome = measured(embedded["lvp"], planned, device, SEVERAL)
    assert sorted((r.op, r.axes.get("n", 1), r.type, r.path, r.status) for r in outcome.results) == [
        ("dequant", 1, "q4_0", "scalar-f32", "ok"),
        ("gemm", 16, "q4_0", "scalar-f32", "ok"),
        ("gemv", 1, "q4_0", "intdot", "ok"),
        ("gemv", 1, "q4_0", "scalar-f32", "ok"),
        ("gemv", 1, "q8_0", "intdot", "ok"),
        ("gemv", 1, "q8_0", "scalar-f32", "ok"),
        ("gemv", 2, "q4_0", "intdot", "ok"),
        ("gemv", 2, "q4_0", "scalar-f32", "wrong"),
    ]
    assert all(isinstance(r, ResultRecord) and r.time and set(r.time.rounds) == {0, 1, 2} for r in outcome.results if r.status == "ok")
