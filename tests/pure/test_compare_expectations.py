"""Files of known failures, flakes and skips, and the names that they list cells by."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.pure.sample_records import null_nvk, null_radv, pipeline, result
from vkprobe.compare.compare import compare
from vkprobe.compare.conditions import met, parse
from vkprobe.compare.expectations import read
from vkprobe.compare.model import Comparison
from vkprobe.errors import UsageError
from vkprobe.records import AnyRecord, ResultRecord
from vkprobe.report.compare import as_text
from vkprobe.report.compare_data import as_fails
from vkprobe.results.names import cell_name, full_name
from vkprobe.results.store import Store

RADV = "radv:gfx1201/0"
NAME = "gemm/f16/coopmat/f16/4096x512x14336/cold"


def comparison_of(tmp_path: Path, old: list[AnyRecord], new: list[AnyRecord], **lines: str) -> Comparison:
    """The comparison under files with these lines."""
    files = {}
    for name, text in lines.items():
        files[name] = tmp_path / f"{name}.txt"
        files[name].write_text(text)
    return compare(Store([null_radv(), *old]), Store([null_radv(), *new]), expected=read(**files))


def test_names_of_cells_and_pipelines() -> None:
    """Paths without spaces; a copy's kernel stands in its type's place."""
    assert cell_name(result(matrix_tuple="16x16x16", weights="q4_0")) == "gemm/q4_0/coopmat/f16/16x16x16/4096x512x14336/cold"
    copied = ResultRecord(run="r", device=RADV, op="copy", axes={"bytes": 256}, mode="device", kernel="copy_device", status="ok")
    assert cell_name(copied) == "copy/copy_device/256"
    assert cell_name(pipeline(RADV, "gemv_f16", "scalar-f32", "f16", registers=1, spills=0)) == "compile/gemv_f16/128x128x32"
    assert full_name(RADV, result()) == f"{RADV}:{NAME}"


@pytest.mark.parametrize("name", [NAME, f"{RADV}:{NAME}"])
def test_a_known_failure_meets_no_condition(tmp_path: Path, name: str) -> None:
    """The line may name the device or not; another verdict on the same cell still counts."""
    comparison = comparison_of(tmp_path, [result(RADV)], [result(RADV, status="wrong")], fails=f"{name},wrong  # issue 7\n")
    assert met(comparison, parse("wrong")) == []
    crashed = comparison_of(tmp_path, [result(RADV)], [result(RADV, status="crash")], fails=f"{name},wrong\n")
    assert met(crashed, parse("crash,unexpected")) == [f"crash (1: {NAME})"]


def test_a_device_that_is_known_to_be_missing_meets_no_condition(tmp_path: Path) -> None:
    """`DEVICE,missing` covers the whole device, as `--format fails` prints it; a device that is back is reported."""
    nvk: list[AnyRecord] = [null_nvk(), result("nvk:172/0")]
    gone = comparison_of(tmp_path, [result(RADV), *nvk], [result(RADV)])
    assert as_fails(gone, parse("missing")) == "nvk:172/0,missing"
    assert as_fails(gone, parse("wrong")) == ""
    with_list = comparison_of(tmp_path, [result(RADV), *nvk], [result(RADV)], fails="nvk:172/0,missing")
    assert (met(with_list, parse("missing,unexpected")), with_list.unlisted, as_fails(with_list, None)) == ([], (), "")
    assert "nvk:172/0 is only in OLD (1 records): missing, which --fails lists" in as_text(with_list, "table")
    for old in (nvk, []):
        back = comparison_of(tmp_path, [result(RADV), *old], [result(RADV), *nvk], fails="nvk:172/0,missing")
        assert met(back, parse("unexpected")) == [f"unexpected (1: {tmp_path / 'fails.txt'}:1 nvk:172/0)"]
    assert comparison_of(tmp_path, [result(RADV)], [result(RADV)], fails=f"{RADV},crash").unlisted == (
        f"{tmp_path / 'fails.txt'}:1: neither file has {RADV}",
    )


def test_an_unclear_cell_is_no_improvement(tmp_path: Path) -> None:
    """An unclear time doesn't show that a cell is no longer slower; a crash that is gone is an improvement whatever the times."""
    unsteady: list[AnyRecord] = [result(RADV, steady=False)]
    assert comparison_of(tmp_path, [result(RADV)], unsteady, fails=f"{NAME},slower").improved == ()
    (gone,) = comparison_of(tmp_path, [result(RADV)], unsteady, fails=f"{NAME},crash").improved
    assert (gone.where, gone.listed, gone.verdict) == (f"{tmp_path / 'fails.txt'}:1", "crash", "unclear")


def test_flakes_meet_no_condition_whatever_they_do(tmp_path: Path) -> None:
    """They stay in the table."""
    comparison = comparison_of(tmp_path, [result(RADV)], [result(RADV, status="crash")], flakes="^gemm/f16/.*cold$\n")
    assert met(comparison, parse("crash,wrong")) == []
    assert [(c.verdict, c.expected) for c in comparison.cells] == [("crash", "flaky")]


def test_skipped_cells_are_left_out_and_counted(tmp_path: Path) -> None:
    """Results and pipelines, by a part of the name; a listed failure among them is not unlisted."""
    compiled = pipeline(RADV, "gemm_f16_coopmat", "coopmat", "f16", registers=96, spills=0)
    records: list[AnyRecord] = [compiled, result(RADV), result(RADV, op="gemv", path="scalar-f32")]
    comparison = comparison_of(tmp_path, records, records, skips="coopmat\n", fails=f"{NAME},slower")
    assert [c.name for c in comparison.cells] == ["gemv/f16/scalar-f32/f16/4096x512x14336/cold"]
    assert (comparison.skipped, comparison.unlisted) == (2, ())


def test_a_device_that_is_skipped_is_not_missing(tmp_path: Path) -> None:
    """The pattern matches the id before the name."""
    gone: list[AnyRecord] = [result("nvk:172/0")]
    assert met(comparison_of(tmp_path, [result(RADV), *gone], [result(RADV)]), parse("missing")) == ["missing (1: all of nvk:172/0)"]
    assert met(comparison_of(tmp_path, [result(RADV), *gone], [result(RADV)], skips="^nvk:172/0:"), parse("missing")) == []


def test_a_line_that_names_nothing_is_reported(tmp_path: Path) -> None:
    """The note has its file and number: the cell was renamed, or the line mistyped."""
    comparison = comparison_of(tmp_path, [result(RADV)], [result(RADV)], fails="\n# known\ngemm/f16,slower\n")
    assert comparison.unlisted == (f"{tmp_path / 'fails.txt'}:3: neither file has gemm/f16",)


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        ("fails", "gemm/f16", "expected CELL,VERDICT"),
        ("fails", ",slower", "expected CELL,VERDICT"),
        ("fails", "gemm/f16,Fail", "no verdict is called 'Fail'; there is wrong, crash"),
        ("fails", "gemm/f16,same", "no verdict is called 'same'"),
        ("flakes", "gemm/(f16", "is not a regular expression from character 6 on"),
        ("skips", "*", "is not a regular expression from character 1 on"),
    ],
)
def test_bad_lines_are_sentences_with_file_and_line(tmp_path: Path, file: str, line: str, words: str) -> None:
    """They also say what was expected."""
    path = tmp_path / "x.txt"
    path.write_text(f"# one\n{line}\n")
    with pytest.raises(UsageError, match=rf"x\.txt:2: .*{words}"):
        read(**{file: path})


def test_files_that_can_t_be_read_are_sentences(tmp_path: Path) -> None:
    """Missing, or no text."""
    with pytest.raises(UsageError, match=r"nowhere\.txt: can't be read"):
        read(fails=tmp_path / "nowhere.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="binary: is no UTF-8 text"):
        read(skips=tmp_path / "binary")


def test_a_pipeline_that_is_not_judged_is_no_improvement(tmp_path: Path) -> None:
    """vkprobe was upgraded, so nothing shows that a cell listed as worse has improved."""
    old, new = (replace(pipeline(RADV, "gemm_f16", "scalar-f32", "f16", registers=1, spills=0), spirv_sha=sha) for sha in "ab")
    comparison = comparison_of(tmp_path, [old], [new], fails="compile/gemm_f16/128x128x32,worse")
    assert [c.verdict for c in comparison.cells] == ["unjudged"]
    assert comparison.improved == ()
