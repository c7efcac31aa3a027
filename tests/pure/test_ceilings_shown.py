"""Copies, peaks and shares of the roofline in the verbs' tables, the matrix and its page, and machine formats."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import asdict, replace

from tests.pure.recorded_devices import recorded
from tests.pure.sample_records import RUN
from vkprobe.cli.main import cli
from vkprobe.ops import every, find
from vkprobe.ops.base import Request
from vkprobe.records import AnyRecord, DeviceRecord, ResultRecord, Time
from vkprobe.report.html import as_html
from vkprobe.report.matrix import build
from vkprobe.report.results import as_text
from vkprobe.report.text import as_text as matrix_text
from vkprobe.results.store import Store

H200, RADV = recorded("nvidia-h200"), recorded("radv-gfx1201")
TIME = Time(
    median_s=1e-3, ci95_s=(0.99e-3, 1.01e-3), samples_s=[1e-3] * 3, rounds=[0, 1, 2], settle_s=0.0, settle_samples_s=[],
    wall_samples_s=[1e-3] * 3, dispatches_per_sample=1, clock="gpu", timestamp_period_ns=1.0, steady=True,
)  # fmt: skip


def rated(op: str, rate: float) -> dict[str, Any]:
    """The rate that a record of the op has."""
    return {"bytes_per_s" if op == "copy" else "flops_per_s": rate}


def ceilings(device: DeviceRecord, rate: float = 4e12) -> list[ResultRecord]:
    """An ok record of each copy and of each peak that is not of workgroup scope."""
    cells = [c for op in every() if op.ceiling for c in op.cells(Request(), device) if c.variant.path != "coopmat2"]
    return [
        ResultRecord(
            run=RUN, device=device.device, op=c.op, axes=dict(c.axes), **asdict(c.variant), kernel=find(c.op).sentence(c), status="ok",
            time=TIME, peak_share=None, **rated(c.op, rate),
        )
        for c in cells
    ]  # fmt: skip


def gemm(share: float | None) -> ResultRecord:
    """An ok record of a product."""
    return ResultRecord(
        run=RUN, device=H200.device, op="gemm", kernel="gemm_f16_scalar_f32", tier="mimic", residency="cold", path="scalar-f32", type="f16",
        accumulator="f32", tuple=None, axes={"m": 4096, "n": 512, "k": 14336}, status="ok",
        time=TIME, flops_per_s=3e13, bytes_per_s=1e11, peak_share=share,
    )  # fmt: skip


def test_copies_are_named_by_kernel_size_and_bandwidth() -> None:
    """No type, path or shape, which say nothing of a copy."""
    lines = as_text([r for r in ceilings(H200) if r.op == "copy"], "table").splitlines()
    assert lines[0] == "nvidia/0  copy  256 MiB"
    assert lines[2].split() == ["kernel", "status", "time", "+-", "bandwidth"]
    assert lines[4].split()[:2] == ["read_shader", "ok"]
    assert lines[4].endswith("4.00 TB/s")


def test_peaks_are_named_by_what_they_multiply() -> None:
    """The label has both types if they differ, the tuple and the accumulator; there is a rate and no shape."""
    text = as_text([r for r in ceilings(RADV) if r.op == "peak"], "table")
    assert "x256x" not in text
    assert any(line.split()[:4] == ["s8,u8", "coopmat", "s32", "16x16x16"] and "TFLOP/s" in line for line in text.splitlines())
    assert any(line.split()[:3] == ["f32", "scalar-f32", "f32"] for line in text.splitlines())


def test_a_share_is_a_column_and_what_it_is_of_a_line() -> None:
    """Ceilings that were measured for it have no rows of their own, unless they are not right."""
    results = [*ceilings(H200), gemm(0.451)]
    lines = as_text(results, "table").splitlines()
    assert lines[0] == "nvidia/0  gemm  f16  4096x512x14336"
    assert "of peak" in lines[2]
    assert lines[4].endswith("30.0 TFLOP/s  45%")
    peak_line = next(line for line in lines if line.startswith("of peak: "))
    assert "4.00 TB/s (read_shader)" in peak_line
    assert "4.00 TFLOP/s (scalar-f32 acc f32)" in peak_line
    bad = [replace(r, status="wrong", reason="sums differ") if r.path == "intdot" else r for r in results]
    assert any("WRONG [1]" in line and "intdot" in line for line in as_text(bad, "table").splitlines())


def test_without_shares_there_is_no_word_of_them() -> None:
    """CPU devices have none, and neither have devices whose ceilings failed."""
    assert "peak" not in as_text([gemm(None)], "table")


def test_machine_formats_have_every_record_and_the_share() -> None:
    """A number, null where there is none; copies and peaks too."""
    rows = json.loads(as_text([*ceilings(H200), gemm(0.451)], "json"))
    assert {row["op"] for row in rows} == {"copy", "peak", "gemm"}
    assert [row["peak_share"] for row in rows if row["op"] == "gemm"] == [0.451]
    assert {row["peak_share"] for row in rows if row["op"] != "gemm"} == {None}


def store() -> Store:
    """Two GPUs with ceilings, one with a product."""
    devices = [replace(d, run=RUN) for d in (H200, RADV)]
    records: list[AnyRecord] = [*devices, *ceilings(H200), *ceilings(RADV, 1e12), gemm(0.451)]
    return Store(records)


def test_the_matrix_compares_peaks_of_devices_of_any_size() -> None:
    """Peaks have one row each, though workgroups differ, and copies one a kernel; a peak doesn't price a path."""
    matrix = build(store())
    sections = {s.title: s for s in matrix.sections if s.kind == "measured"}
    peak = {row.labels: [cell.text for cell in row.cells] for row in sections["peak"].rows}
    assert peak["f32", "scalar-f32 f32acc"] == ["4.00 TFLOP/s", "1.00 TFLOP/s"]
    assert peak["f16", "coopmat 16x16x16 f16acc"] == ["4.00 TFLOP/s", "1.00 TFLOP/s"]
    copies = {row.labels: [cell.text for cell in row.cells] for row in sections["copy"].rows}
    assert copies["256 MiB", "read_shader"] == ["4.00 TB/s  1.00 ms", "1.00 TB/s  1.00 ms"]
    assert all(not loss.prices for loss in matrix.losses)


def test_the_matrix_has_shares_beside_rates() -> None:
    """The share is in the cell, in its tooltip on the page and in JSON; the table says what the percentage means."""
    matrix = build(store())
    text = matrix_text(matrix)
    assert "30.0 TFLOP/s  45%" in text
    assert "%: of what the device's own copies and peaks allow" in " ".join(text.split())
    page = as_html(matrix)
    assert "45% of what the device&#39;s own copies and peaks allow" in page
    data = json.loads(matrix_text(matrix, "json"))
    section = next(s for s in data["sections"] if s["title"] == "gemm")
    assert section["rows"][0]["cells"]["nvidia/0"]["peak_share"] == 0.451


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("copy --path coopmat", "--path coopmat: not known; there is scalar-f32, transfer"),
        ("peak --path transfer", "--path transfer: not known; there is scalar-f32, scalar-f16, dot2, intdot, coopmat, coopmat2"),
        ("peak --type q4_0", "--type q4_0: not known; there is f32, f16, s8"),
    ],
)
def test_what_is_no_path_or_type_is_refused(argv: str, says: str) -> None:
    """The error names the valid ones."""
    outcome = CliRunner().invoke(cli, argv.split())
    assert says in str(outcome.exception)
