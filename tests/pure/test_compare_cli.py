"""`vkprobe compare` as a command: tables, exit statuses, bad input."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from tests.pure.sample_records import null_radv, pipeline, result
from tests.pure.test_compare import RADV, radv_pipeline
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
    done = run(tmp_path, [radv_pipeline()], [radv_pipeline()], "--fail-on", "slower:5%,worse,changed,wrong,crash,missing")
    assert (done.exit_code, done.output) == (0, f"{RADV} (radv 26.1.6): 1 same\n")


def test_spills_are_shown_with_their_kernel(tmp_path: Path) -> None:
    """The row has the old and the new number; without a condition nothing fails."""
    done = run(tmp_path, [radv_pipeline()], [radv_pipeline(raw={"Spilled VGPRs": 40}, spills=40)])
    assert done.exit_code == 0
    assert done.output.splitlines()[-1].split() == ["gemm_f16_scalar_f32", "128x128x32", "worse", "0", "->", "40"]


@pytest.mark.parametrize(
    ("condition", "status"), [("worse", 1), ("worse:5%,wrong", 1), ("slower:5%,missing,crash,wrong", 0), ("changed", 1)]
)
def test_conditions_decide_the_exit_status(tmp_path: Path, condition: str, status: int) -> None:
    """1 where one is met, and which."""
    done = run(tmp_path, [radv_pipeline()], [radv_pipeline(instructions=1300)], "--fail-on", condition)
    assert done.exit_code == status
    assert ("vkprobe: --fail-on " in done.output) == bool(status)


def test_a_slower_cell_is_named_with_its_ratio(tmp_path: Path) -> None:
    """The table has both times and the interval, stderr the condition; a higher threshold is not met."""
    done = run(tmp_path, [result(RADV)], [result(RADV, median=1.2e-3)], "--fail-on", "slower:5%")
    assert done.exit_code == 1
    assert re.search(r"slower +gemm f16 coopmat f16 4096x512x14336 cold +1.00 ms +1.20 ms +1.200 \[1.1\d\d, 1.2\d\d\]", done.output)
    assert "--fail-on slower:5% (1: gemm/f16/coopmat/f16/4096x512x14336/cold 1.200)" in done.output
    assert run(tmp_path, [result(RADV)], [result(RADV, median=1.2e-3)], "--fail-on", "slower:25%").exit_code == 0


def test_unclear_cells_fail_nothing_and_are_counted(tmp_path: Path) -> None:
    """Their reason is in the table's foot and beside the condition."""
    done = run(tmp_path, [result(RADV)], [result(RADV, median=1.01e-3, steady=False)], "--fail-on", "slower:0%")
    assert done.exit_code == 0
    assert "1 unclear: unsteady in NEW: the last two rounds differ by 4.1 %" in done.stdout
    assert "vkprobe: --fail-on slower: 1 unclear: unsteady in NEW" in done.stderr


def test_what_is_unsteady_is_judged_by_its_own_rounds(tmp_path: Path) -> None:
    """Three times as slow is slower, however far the rounds lie apart."""
    done = run(tmp_path, [result(RADV)], [result(RADV, median=3e-3, steady=False)], "--fail-on", "slower:50%")
    assert done.exit_code == 1
    assert "vkprobe: --fail-on slower:50%" in done.stderr


def test_a_status_and_its_reason_are_reported(tmp_path: Path) -> None:
    """ok -> crash, and why."""
    done = run(tmp_path, [radv_pipeline()], [radv_pipeline(status="crash", reason="killed by SIGABRT (ACO ERROR)")], "--fail-on", "crash")
    assert "ok -> crash [1]" in done.output
    assert "[1] killed by SIGABRT (ACO ERROR)" in done.output
    assert done.exit_code == 1


def test_machine_forms_hold_every_change(tmp_path: Path) -> None:
    """JSON: an object for each cell and pipeline; CSV: a row for each statistic and pair of times."""
    old: list[AnyRecord] = [radv_pipeline(), result(RADV)]
    new: list[AnyRecord] = [radv_pipeline(raw={"Spilled VGPRs": 40, "Latency": 600}, spills=40), result(RADV, median=1.2e-3)]
    report = json.loads(run(tmp_path, old, new, "--format", "json").output)
    timed, compiled = report["cells"]
    assert (timed["name"], timed["verdict"], timed["of"]) == ("gemm/f16/coopmat/f16/4096x512x14336/cold", "slower", "result")
    assert timed["ratio"] == pytest.approx(1.2)
    assert timed["ci95"][0] < 1.2 < timed["ci95"][1]
    assert timed["new_s"] / timed["old_s"] == pytest.approx(timed["ratio"])
    assert timed["p"] < 0.01
    assert compiled["changes"] == [{"statistic": "spills", "old": 0, "new": 40}, {"statistic": "Latency", "old": 500, "new": 600}]
    lines = run(tmp_path, old, new, "--format", "csv").output.splitlines()
    assert len(lines) == 4
    assert lines[2].startswith(f"{RADV},compile/gemm_f16_scalar_f32/128x128x32,worse,,spills,0,40,")
    assert ",slower,,time_s,0.00" in lines[1]


def test_markdown_has_the_verdict(tmp_path: Path) -> None:
    """One row of a table, with what changed in the pipeline below the cell's name."""
    pipelines = [pipeline(RADV, "gemm_f16_coopmat", "coopmat", "f16", registers=r, spills=s) for r, s in ((96, 0), (128, 40))]
    text = run(tmp_path, [pipelines[0], result(RADV)], [pipelines[1], result(RADV, median=1.2e-3)], "--format", "md").output
    row = next(line for line in text.splitlines() if line.startswith("| slower"))
    assert "cold<br>  registers 96 -> 128<br>  spills 0 -> 40 |" in row


def test_lines_of_known_failures_are_printed_and_read(tmp_path: Path) -> None:
    """The output of `--format fails` makes the gate pass; if the cell works again, that is reported, and fails if asked for."""
    old, slow = result(RADV), result(RADV, median=1.2e-3)
    lines = run(tmp_path, [old], [slow], "--format", "fails", "--fail-on", "slower:5%").stdout
    assert lines == "gemm/f16/coopmat/f16/4096x512x14336/cold,slower\n"
    fails = tmp_path / "fails.txt"
    fails.write_text("# since the rewrite of the scheduler\n\n" + lines)
    done = run(tmp_path, [old], [slow], "--fails", str(fails), "--fail-on", "slower:5%,unexpected")
    assert (done.exit_code, "known: --fails lists it" in done.output) == (0, True)
    again = run(tmp_path, [old], [old], "--fails", str(fails), "--fail-on", "slower:5%")
    assert again.exit_code == 0
    assert f"unexpected improvement: {fails}:3: gemm/f16/coopmat/f16/4096x512x14336/cold is no longer slower but same" in " ".join(
        again.output.split()
    )
    assert run(tmp_path, [old], [old], "--fails", str(fails), "--fail-on", "unexpected").exit_code == 1


def test_comparing_is_light_and_quick(tmp_path: Path) -> None:
    """Two files of 500 cells each, without numpy and vulkan, in less than a second of processor time besides start-up."""
    shapes = [(m, n, 512) for m in range(1, 51) for n in range(1, 11)]
    for name, slowness in (("a.jsonl", 1.0), ("b.jsonl", 1.05)):
        written(tmp_path / name, *(result(RADV, shape=shape, median=1e-3 * slowness) for shape in shapes))
    code = (
        "import sys, time; from vkprobe.cli.main import cli; start = time.process_time(); "
        f"cli.main(['compare', {str(tmp_path / 'a.jsonl')!r}, {str(tmp_path / 'b.jsonl')!r}], standalone_mode=False); "
        "print(time.process_time() - start, file=sys.stderr); sys.exit(bool({'vulkan', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "500 slower" in done.stdout
    assert float(done.stderr) < 1


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_tables_stay_within_the_terminal(tmp_path: Path, columns: int) -> None:
    """Every part has the kernel and its cell, at any width."""
    old: list[AnyRecord] = [radv_pipeline("gemm_q8_0_scalar_f16_acc_f32", tile="l 128x128 64x64 4x4 128/32")]
    changed: Any = {"registers": 120, "spills": 99, "instructions": 9999, "code_bytes": 1, "occupancy": 3.0, "raw": {"Latency": 9}}
    new = [msgspec.structs.replace(old[0], **changed)]
    text = run(tmp_path, old, new, columns=columns).output
    assert max(map(len, text.splitlines())) <= columns
    slow = run(tmp_path, [result(RADV, matrix_tuple="16x16x16")], [result(RADV, median=1.2e-3, matrix_tuple="16x16x16")], columns=columns)
    assert max(map(len, slow.output.splitlines())) <= columns
    assert re.search(r"slower +gemm f16", slow.output)
    assert "0 -> 99" in text
    assert "1204 -> 9999 (+730.5%)" in text


def test_bad_files_are_sentences(tmp_path: Path) -> None:
    """The sentence names the file and what was expected."""
    good = written(tmp_path / "good.jsonl", radv_pipeline())
    (tmp_path / "bad.jsonl").write_text("[1,2]\n")
    for bad, words in (("bad.jsonl", "bad.jsonl, line 1"), ("nowhere.jsonl", "can't be read")):
        for files in ([good, str(tmp_path / bad)], [str(tmp_path / bad), good]):
            done = CliRunner().invoke(compare, files)
            assert isinstance(done.exception, UsageError)
            assert words in str(done.exception)


@pytest.mark.parametrize("condition", ["worse", "changed"])
def test_a_gate_on_statistics_reports_what_it_could_not_judge(tmp_path: Path, condition: str) -> None:
    """Pipelines of another vkprobe pass it, and standard error says so, of that gate; times have their own."""
    old, new = (
        msgspec.structs.replace(pipeline(RADV, "gemm_f16", "scalar-f32", "f16", registers=1, spills=0), spirv_sha=sha) for sha in "ab"
    )
    done = run(tmp_path, [old, result(RADV)], [new, result(RADV, steady=False)], "--fail-on", condition)
    assert done.exit_code == 0
    assert f"--fail-on {condition}: 1 not judged: vkprobe's SPIR-V module changed" in done.stderr
    assert "unclear" not in done.stderr
