"""`vkprobe compare` as a command: tables, exit statuses, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from tests.pure.sample_records import null_radv, result
from tests.pure.test_compare import RADV, made
from vkprobe.cli.compare import compare
from vkprobe.errors import UsageError
from vkprobe.records import AnyRecord, encode


def written(path: Path, *records: AnyRecord) -> str:
    """A record file."""
    path.write_bytes(b"".join(encode(r) + b"\n" for r in (null_radv(), *records)))
    return str(path)


def run(tmp_path: Path, old: list[AnyRecord], new: list[AnyRecord], *options: str, columns: int | None = None) -> Result:
    """The command on two files."""
    files = [written(tmp_path / "old.jsonl", *old), written(tmp_path / "new.jsonl", *new)]
    return CliRunner().invoke(compare, [*files, *options], env={"COLUMNS": str(columns) if columns else None})


def test_equal_files_are_the_same(tmp_path: Path) -> None:
    """One line, exit status 0 under every condition."""
    done = run(tmp_path, [made()], [made()], "--fail-on", "slower:5%,worse,changed,wrong,crash,missing")
    assert (done.exit_code, done.output) == (0, f"{RADV} (radv 26.1.6): 1 same\n")


def test_spills_are_shown_with_their_kernel(tmp_path: Path) -> None:
    """From what to what; no condition, no failure."""
    done = run(tmp_path, [made()], [made(raw={"Spilled VGPRs": 40}, spills=40)])
    assert done.exit_code == 0
    assert done.output.splitlines()[-1].split() == ["gemm_f16_scalar_f32", "128x128x32", "worse", "0", "->", "40"]


@pytest.mark.parametrize(
    ("condition", "status"), [("worse", 1), ("worse:5%,wrong", 1), ("slower:5%,missing,crash,wrong", 0), ("changed", 1)]
)
def test_conditions_decide_the_exit_status(tmp_path: Path, condition: str, status: int) -> None:
    """1 where one is met, and which."""
    done = run(tmp_path, [made()], [made(instructions=1300)], "--fail-on", condition)
    assert done.exit_code == status
    assert ("vkprobe: --fail-on " in done.output) == bool(status)


def test_measured_cells_are_not_judged(tmp_path: Path) -> None:
    """Said in the table's foot, and again where `slower` was asked for; exit status 0."""
    done = run(tmp_path, [result(RADV)], [result(RADV, median=9.0)], "--fail-on", "slower:5%")
    assert done.exit_code == 0
    assert "1 measured cell ok in both files: not judged yet: timing comparison comes with `ab`" in done.output
    assert "vkprobe: --fail-on slower: 1 cells are not judged" in done.output
    assert "not judged" not in run(tmp_path, [made()], [made()]).output


def test_a_status_and_its_reason_are_told(tmp_path: Path) -> None:
    """ok -> crash, and why."""
    done = run(tmp_path, [made()], [made(status="crash", reason="killed by SIGABRT (ACO ERROR)")], "--fail-on", "crash")
    assert "ok -> crash [1]" in done.output
    assert "[1] killed by SIGABRT (ACO ERROR)" in done.output
    assert done.exit_code == 1


def test_machine_forms_hold_every_change(tmp_path: Path) -> None:
    """JSON and CSV: a row for each statistic."""
    new = made(raw={"Spilled VGPRs": 40, "Latency": 600}, spills=40)
    told = json.loads(run(tmp_path, [made()], [new], "--format", "json").output)
    assert [(row["kernel"], row["verdict"], row["statistic"], row["old"], row["new"]) for row in told] == [
        ("gemm_f16_scalar_f32", "worse", "spills", 0, 40),
        ("gemm_f16_scalar_f32", "worse", "Latency", 500, 600),
    ]
    lines = run(tmp_path, [made()], [new], "--format", "csv").output.splitlines()
    assert len(lines) == 3
    assert lines[1].endswith(",worse,spills,0,40,")


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_tables_stay_within_the_terminal(tmp_path: Path, columns: int) -> None:
    """At every width the kernel and its cell are in every part."""
    old: list[AnyRecord] = [made("gemm_q8_0_scalar_f16_acc_f32", tile="l 128x128 64x64 4x4 128/32")]
    changed: Any = {"registers": 120, "spills": 99, "instructions": 9999, "code_bytes": 1, "occupancy": 3.0, "raw": {"Latency": 9}}
    new = [msgspec.structs.replace(old[0], **changed)]
    told = run(tmp_path, old, new, columns=columns).output
    assert max(map(len, told.splitlines())) <= columns
    assert "0 -> 99" in told
    assert "1204 -> 9999 (+730.5%)" in told


def test_bad_files_are_sentences(tmp_path: Path) -> None:
    """Which file, and what was expected."""
    good = written(tmp_path / "good.jsonl", made())
    (tmp_path / "bad.jsonl").write_text("[1,2]\n")
    for bad, words in (("bad.jsonl", "bad.jsonl, line 1"), ("nowhere.jsonl", "can't be read")):
        for files in ([good, str(tmp_path / bad)], [str(tmp_path / bad), good]):
            done = CliRunner().invoke(compare, files)
            assert isinstance(done.exception, UsageError)
            assert words in str(done.exception)
