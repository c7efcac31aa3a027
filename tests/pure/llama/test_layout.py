"""Layouts of products: activations, bounds checks, subgroups, and everything a planner needs in one object."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pure.llama.facts import GCN, INTEL, MATRIX, NAMES, RDNA2, RDNA3, device_limits, recorded
from vkprobe.llama.activations import gemm_activations, gemv_activations, weights_form
from vkprobe.llama.bounds import (
    Subgroups,
    conversion_robust,
    conversion_subgroups,
    float_controls,
    gemm_robust,
    gemm_subgroups,
    gemv_robust,
    gemv_subgroups,
    plain_subgroups,
)
from vkprobe.llama.device import fold, limits
from vkprobe.llama.layout import GemmLayout, gemm_layout, gemv_layout
from vkprobe.weights import WEIGHT_TYPES

QUANTISED = [name for name, row in WEIGHT_TYPES.items() if row.quantised]
RDNA1: dict[str, Any] = {**RDNA2, "architecture": "amd-rdna1"}
NOTHING = Subgroups(required=None, full=False)


@pytest.mark.parametrize(
    ("path", "accumulator", "forms"),
    [
        ("scalar-f32", "f32", {"f32": "f32", "f16": "f32", "bf16": "bf16", "q4_0": "f32"}),
        ("dot2", "f32", {"f32": "f32", "f16": "f32", "q4_0": "f32"}),
        ("coopmat", "f16", {"f32": "f32", "f16": "f32", "bf16": "bf16", "q4_0": "f16", "q4_k": "f16"}),
        ("coopmat", "s32", {"q4_0": "q8_1", "q6_k": "q8_1"}),
        ("coopmat2", "f16", {"f32": "f16", "f16": "f16", "bf16": "bf16", "q4_0": "f16"}),
        ("intdot", "f32", {"q4_0": "q8_1"}),
    ],
)
def test_activations_by_path(path: str, accumulator: str, forms: dict[str, str]) -> None:
    """Activations that are copied to f16 or bf16 are padded to whole tiles; those read as they are, or made q8_1, are not."""
    for weight_type, form in forms.items():
        activations = gemm_activations(weight_type, path, accumulator, 100, 64)
        assert (activations.form, activations.rows) == (form, 128 if form in ("f16", "bf16") else 100)
        assert activations.converted == (form != "f32")


def test_gemv_reads_f32_or_q8_1() -> None:
    """bf16 weights included: a GEMV converts nothing but to q8_1."""
    assert (gemv_activations("scalar-f32", 3).form, gemv_activations("intdot", 3).form) == ("f32", "q8_1")
    assert gemv_layout(device_limits(), "bf16", 4096, 1, 4096, "scalar-f32").activations.form == "f32"


def test_coopmat2_reads_f32_weights_as_f16() -> None:
    """They are copied first."""
    assert weights_form("f32", "coopmat2") == "f16"
    assert [weights_form(t, "coopmat2") for t in ("f16", "bf16", "q4_0")] == ["f16", "bf16", "q4_0"]
    assert weights_form("f32", "coopmat") == "f32"


@pytest.mark.parametrize("robustness", [True, False])
def test_bounds_checks_are_off_for_coopmat2_and_quantised_gemvs(robustness: bool) -> None:
    """They are off for q8_1 made in subgroups too; without VK_EXT_pipeline_robustness they can't be switched off at all."""
    device = device_limits(robustness=robustness)
    off = not robustness
    assert gemm_robust(device, "coopmat2") is off
    assert gemm_robust(device, "coopmat2", reduced=True)
    assert all(gemm_robust(device, path) for path in ("scalar-f32", "scalar-f16", "dot2", "intdot", "coopmat"))
    assert {gemv_robust(device, t) for t in QUANTISED} == {off}
    assert all(gemv_robust(device, t) for t in ("f32", "f16", "bf16"))
    assert conversion_robust(device, "q8_1") is off
    assert conversion_robust(device_limits(robustness=robustness, full_subgroups=False), "q8_1")
    assert conversion_robust(device, "f16")


def test_rdna1_and_rdna2_get_a_subgroup_size_by_name() -> None:
    """32, but for RDNA1's GEMVs other than f16's; where no size can be required, none."""
    for name, sizes in {
        "matmul": (32, 32),
        "dequant_q4_0": (32, 32),
        "mul_mat_vec_q4_k_f32_f32": (64, 32),
        "mul_mat_vec_f16_f32": (32, 32),
    }.items():
        assert tuple(plain_subgroups(device_limits(**of), name).required for of in (RDNA1, RDNA2)) == sizes
    assert plain_subgroups(device_limits(**{**RDNA1, "required_sizes": None}), "matmul") == NOTHING
    assert [plain_subgroups(device_limits(**of), "matmul") for of in ({}, RDNA3, GCN, INTEL)] == [NOTHING] * 4


@pytest.mark.parametrize(
    ("changed", "path", "accumulator", "expected"),
    [
        ({}, "coopmat", "f16", Subgroups(required=None, full=True)),
        ({"full_subgroups": False}, "coopmat", "f16", NOTHING),
        (INTEL, "coopmat", "f16", Subgroups(required=16, full=True)),
        (RDNA3, "coopmat", "f16", Subgroups(required=None, full=True)),
        (RDNA3, "coopmat", "s32", Subgroups(required=32, full=True)),
        ({}, "coopmat2", "f16", NOTHING),
        ({}, "intdot", "f32", NOTHING),
        (INTEL, "intdot", "f32", NOTHING),
        (RDNA2, "intdot", "f32", Subgroups(required=32, full=False)),
        (RDNA2, "scalar-f16", "f16", Subgroups(required=32, full=False)),
        ({}, "scalar-f16", "f16", NOTHING),
    ],
)
def test_subgroups_of_gemms(changed: dict[str, Any], path: str, accumulator: str, expected: Subgroups) -> None:
    """Full ones for coopmat; of a required size on Intel and for int8; else RDNA1's and RDNA2's table."""
    assert gemm_layout(device_limits(**changed), "q4_0", 4096, 512, 4096, path, accumulator).subgroups == expected


def test_a_size_outside_the_device_s_range_is_not_required() -> None:
    """llama.cpp would stop at an assertion; no real device gets there."""
    assert gemm_subgroups(device_limits(**{**INTEL, "required_sizes": (32, 32)}), "coopmat", "f16", 16).required is None


def test_subgroups_of_gemvs() -> None:
    """A size and full subgroups where they reduce in subgroups; q8_1's size always."""
    assert gemv_subgroups(device_limits(), "q4_0", "scalar-f32", 32, "subgroup") == Subgroups(required=32, full=True)
    assert gemv_subgroups(device_limits(), "q4_0", "scalar-f32", 32, "shared") == NOTHING
    assert gemv_subgroups(device_limits(), "q4_0", "intdot", 32, "shared") == Subgroups(required=32, full=False)
    assert gemv_subgroups(device_limits(**RDNA1), "q4_k", "scalar-f32", 64, "shared").required == 64
    assert gemv_layout(limits(recorded("nvk-172")), "q4_0", 4096, 1, 4096, "intdot").subgroups == Subgroups(required=None, full=True)


def test_q8_1_is_made_in_subgroups_where_they_are_full_and_have_clusters() -> None:
    """Other devices go through shared memory, which requires nothing except on RDNA1 and RDNA2."""
    assert conversion_subgroups(device_limits(), "q8_1") == Subgroups(required=None, full=True)
    assert conversion_subgroups(device_limits(clusters=False), "q8_1") == NOTHING
    assert conversion_subgroups(device_limits(**RDNA2, full_subgroups=False), "q8_1") == Subgroups(required=32, full=False)
    assert conversion_subgroups(device_limits(**RDNA2), "f16") == Subgroups(required=32, full=False)


def test_float_controls_are_the_device_s() -> None:
    """Every module has them."""
    controls = float_controls(device_limits(denormals_f16=False))
    assert (controls.rounding_f16, controls.denormals_f16) == (True, False)


def test_a_layout_holds_what_a_planner_needs() -> None:
    """H200, coopmat2, M=1024: 32 tiles on 132 shader cores, four parts."""
    layout = gemm_layout(limits(recorded("nvidia-h200")), "q4_k", 1024, 500, 4096, "coopmat2", "f16")
    assert str(layout) == "m 128x128x64 256"
    assert (layout.groups, layout.split.parts, layout.split.part_k) == ((8, 4, 4), 4, 1024)
    assert (layout.activations.form, layout.activations.rows, layout.weights) == ("f16", 512, "q4_k")
    assert (layout.shared_bytes, layout.robust, layout.subgroup) == (128 * 64, False, 32)
    assert layout.constants == {"block": 256, "bm": 128, "bn": 128, "bk": 64, "smaller": 1, "aligned": 1}


def test_words_say_where_a_kernel_has_a_tail() -> None:
    """K = 2880 is a multiple of 64, not of 128."""
    device = device_limits()
    assert str(gemm_layout(device, "q4_0", 4096, 64, 2880, "scalar-f16", "f16")) == "m 64x64 32x32 4x2 128/32"
    assert str(gemm_layout(device, "q4_0", 4096, 512, 2880, "scalar-f16", "f16")) == "l 128x128 64x64 4x4 128/32 unaligned"
    assert gemm_layout(device, "q4_0", 4096, 512, 2880, "scalar-f16", "f16").constants["aligned"] == 0


def test_the_reduced_coopmat2_is_laid_out_as_coopmat() -> None:
    """Only A is in shared memory, and bounds are checked."""
    device = limits(recorded("anv-bmg"))
    reduced = gemm_layout(device, "q4_0", 4096, 512, 4096, "coopmat2", "f16", reduced=True)
    coopmat = gemm_layout(device, "q4_0", 4096, 512, 4096, "coopmat", "f16")
    assert (reduced.tile, reduced.activations, reduced.subgroups) == (coopmat.tile, coopmat.activations, coopmat.subgroups)
    assert (reduced.shared_bytes, reduced.robust) == (128 * 80, True)


def test_a_cell_s_own_matrix_comes_before_llama_cpp_s() -> None:
    """Any listed shape can be measured; without any there is no layout."""
    taken = gemm_layout(device_limits(), "q4_0", 4096, 512, 4096, "coopmat", "f16", (16, 8, 16)).constants
    assert (taken["tm"], taken["tn"], taken["tk"]) == (16, 8, 16)
    with pytest.raises(ValueError, match="no cooperative matrix"):
        gemm_layout(device_limits(matrix=None), "q4_0", 4096, 512, 4096, "coopmat", "f16")


@pytest.mark.parametrize("name", NAMES)
def test_every_path_has_a_layout_on_every_recorded_device(name: str) -> None:
    """Tiles cover D, parts cover K, constants are what the tile says."""
    device = limits(recorded(name))
    for weight_type, row in WEIGHT_TYPES.items():
        layouts: list[GemmLayout] = [
            gemm_layout(device, weight_type, 300, 200, 14336, path, "f32", MATRIX)
            for path in ("scalar-f32", "scalar-f16", "dot2", "coopmat", "coopmat2")
        ]
        if row.q8_1 is not None and row.q8_1.int8_architectures:
            layouts.append(gemm_layout(device, weight_type, 300, 200, 14336, "coopmat", "s32", MATRIX))
        if row.q8_1 is not None and row.q8_1.gemm:
            layouts.append(gemm_layout(device, weight_type, 300, 200, 14336, "intdot", "f32"))
            assert gemv_layout(device, weight_type, 300, 8, 14336, "intdot").activations.form == "q8_1"
        for layout in layouts:
            x, y, parts = layout.groups
            assert (x - 1) * layout.tile.bm < 300 <= x * layout.tile.bm
            assert (y - 1) * layout.tile.bn < 200 <= y * layout.tile.bn
            assert parts == layout.split.parts
            assert (layout.constants["bm"], layout.constants["bn"]) == (layout.tile.bm, layout.tile.bn)
        gemv = gemv_layout(device, weight_type, 300, 8, 14336, "scalar-f32")
        assert (gemv.groups - 1) * gemv.rows.rows < 300 <= gemv.groups * gemv.rows.rows
        assert str(gemv).startswith("n8 ")


def test_a_wide_grid_is_folded_to_y() -> None:
    """There are at least as many workgroups as needed."""
    assert fold(100, device_limits()) == (100, 1, 1)
    assert fold(151936, device_limits()) == (65535, 3, 1)
