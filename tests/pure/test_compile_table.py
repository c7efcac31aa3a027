"""The table of compile statistics: one row for each kernel, with no more labels than it needs."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.pure.sample_records import RUN, null_nvk, null_radv, pipeline
from vkprobe.records import AnyRecord, PipelineRecord
from vkprobe.report.compile import compile_matrix
from vkprobe.report.matrix import build
from vkprobe.report.text import as_text
from vkprobe.results.store import Store


def pipeline_record(device: str, kernel: str, tile: str | None, **changed: Any) -> PipelineRecord:
    """A pipeline's record."""
    path = "coopmat" if "coopmat" in kernel else "scalar-f32"
    record = pipeline(device, kernel, path, "f16", registers=96, spills=0, matrix=32 if path == "coopmat" else 0)
    return msgspec.structs.replace(record, run=RUN, tile=tile, **changed)


def text(*pipelines: PipelineRecord, form: str = "table", times: bool = False, width: int = 120) -> str:
    """The output of `compile` for these pipelines."""
    records: list[AnyRecord] = [null_radv(), null_nvk(), *pipelines]
    return as_text(compile_matrix(build(Store(records)), times=times), form, width=width)


def rows(table: str) -> list[list[str]]:
    """The table's lines below its rule, in cells."""
    lines = table.split("Compile statistics")[1].split("\n\n")[1].splitlines()
    rule = next(i for i, line in enumerate(lines) if line.startswith("---"))
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[rule + 1 :]]


NVK, RADV = "nvk:172/0", "radv:gfx1201/0"
GEMV = ("gemv_f16_subgroup", "n{} 2 rows 128/32 subgroup", "n{} 2 rows 64/64 subgroup")


def test_columns_of_n_are_rows_whatever_the_workgroup() -> None:
    """Devices with other workgroups share the rows N."""
    kernel, nvk, radv = GEMV
    records = [pipeline_record(d, kernel, tile.format(n)) for d, tile in ((NVK, nvk), (RADV, radv)) for n in (1, 2)]
    assert rows(text(*records)) == [[kernel, "n1", "96r 0s 1204i", "96r 0s 1204i"], ["n2", "96r 0s 1204i", "96r 0s 1204i"]]


def test_several_workgroups_of_one_n_are_distinguished_by_their_subgroups() -> None:
    """If a device has several, N alone isn't enough."""
    kernel, nvk, radv = GEMV
    records = [
        pipeline_record(NVK, kernel, nvk.format(1)),
        pipeline_record(NVK, kernel, "n1 2 rows 32/32 subgroup"),
        pipeline_record(RADV, kernel, radv.format(1)),
    ]
    assert [row[-3:] for row in rows(text(*records))] == [
        ["n1 1 subgroups", "96r 0s 1204i", "96r 0s 1204i"],
        ["n1 2 rows 128/32 subgroup sg32", "-", "96r 0s 1204i"],
    ]


def test_tuples_are_shown_where_a_device_has_several() -> None:
    """Size and tuple, not the whole tile."""
    kernel = "gemm_f16_coopmat_acc_f16"
    records = [pipeline_record(NVK, kernel, f"l 128x128 64x64 {t} 128/32") for t in ("16x16x16", "16x8x16")]
    records.append(pipeline_record(RADV, kernel, "l 128x128 64x64 16x16x16 256/64"))
    assert rows(text(*records)) == [
        [kernel, "l 16x16x16", "l 96r 0s 1204i 32m", "l 96r 0s 1204i 32m"],
        ["l 128x128 64x64 16x8x16 128/32 sg32", "-", "96r 0s 1204i 32m"],
    ]


def test_what_a_device_can_t_run_is_reported_in_the_kernel_s_row() -> None:
    """Unsupported, without a tile, with its reason as a note."""
    kernel = "gemm_f16_coopmat_acc_f16"
    none = pipeline_record(
        RADV, kernel, None, status="unsupported", reason="needs VK_KHR_cooperative_matrix, which is not there", registers=None
    )
    table = text(pipeline_record(NVK, kernel, "l 128x128 64x64 16x16x16 128/32"), none, pipeline_record(RADV, "gemm_f16_scalar_f32", "m 1"))
    assert len(rows(table)) == 2
    assert "unsupported [1]" in table
    assert "[1] needs VK_KHR_cooperative_matrix" in table
    assert table.startswith("2 devices, 3 pipelines: 2 ok, 1 unsupported")


def test_a_matrix_path_without_matrix_instructions_is_an_alarm() -> None:
    """It is above the table and in its cell, with a reason."""
    blind = pipeline_record(
        NVK, "gemm_f16_coopmat_acc_f16", "l 1", matrix_instructions=0, reason="compiled to no matrix instruction: emulated"
    )
    table = text(blind, pipeline_record(NVK, "gemm_f16_coopmat_acc_f32", "l 1"))
    assert table.splitlines()[2] == "1 coopmat pipeline without a matrix instruction (nvk:172/0)"
    assert "96r 0s 1204i 0m [1]" in table
    assert "[1] compiled to no matrix instruction: emulated" in table


def test_spills_and_times_are_shown_by_device() -> None:
    """The line has the number of pipelines that spill, the one that spills most, and the slowest."""
    some = [
        pipeline_record(NVK, "gemm_f16_scalar_f32", "l 1", spills=7, compile_s=0.9),
        pipeline_record(NVK, "dequant_q4_0", "256", compile_s=0.1),
    ]
    assert (
        "nvk:172/0: 2 pipelines created in 1.00 s, slowest gemm_f16_scalar_f32 (900 ms); 1 spills, most gemm_f16_scalar_f32 (7): "
        "1 cause unknown" in text(*some, width=400).splitlines()[-1]
    )


def test_live_registers_are_called_that() -> None:
    """If r is the demand and not an allocation, a note says so."""
    demand = pipeline_record(NVK, "gemm_f16_scalar_f32", "l 1", raw={"Max live registers": 96})
    assert "nvk:172/0: r is the most registers that are live at once" in text(demand, width=400)
    assert "live at once" not in text(pipeline_record(NVK, "gemm_f16_scalar_f32", "l 1"), width=400)


def test_times_are_a_table_of_their_own() -> None:
    """The table is there only if requested."""
    table = text(pipeline_record(NVK, "gemm_f16_scalar_f32", "l 1", compile_s=0.25), times=True)
    assert "Creation time: of one pipeline, the driver's caches off" in table
    assert "250 ms" in table.split("Creation time")[1]
    assert "Creation time" not in text(pipeline_record(NVK, "gemm_f16_scalar_f32", "l 1", compile_s=0.25))
