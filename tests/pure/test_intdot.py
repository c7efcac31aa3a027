"""Tiles and workgroups of products with q8_1 activations: llama.cpp's, and such that the kernels compute every element once."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.pure.recorded_devices import NAMES, recorded
from tests.pure.test_tiles import AMDVLK, GCN, INTEL, LIMITS, RDNA
from vkprobe.bench import intdot
from vkprobe.bench.cells import Cell, Shape
from vkprobe.bench.device import Vendor, limits
from vkprobe.bench.resolve import Resolved, resolve
from vkprobe.bench.tiles import Rows, Tile
from vkprobe.requirements.model import Feature

TYPES = ("q4_0", "q8_0", "q4_k", "q5_k", "q6_k", "iq4_xs", "mxfp4")
KERNELS = Path(__file__).resolve().parents[2] / "kernels"
VENDORS: dict[str, dict[str, Any]] = {"nvidia": {}, "rdna": RDNA, "gcn": GCN, "amdvlk": AMDVLK, "intel": INTEL}


def defined(weight_type: str) -> dict[str, str]:
    """What a type's intdot.glsl defines, and the files that it shares with others."""
    text = (KERNELS / "types" / weight_type / "intdot.glsl").read_text()
    for pattern in (r'^#include "\.\./(\w+\.glsl)"$', r'^#include "(\w+\.glsl)"$'):
        text += "".join((KERNELS / "types" / name).read_text() for name in re.findall(pattern, text, re.M))
    found: list[tuple[str, str]] = re.findall(r"^#define (\w+) (\w+)\b", text, re.M)
    words = dict(found)
    return {name: words.get(value, value) for name, value in found}


def tile(weight_type: str = "q4_0", m: int = 4096, n: int = 512, **changed: Any) -> Tile:
    """The tile of a shape on a device that is NVIDIA's but for what is changed."""
    return intdot.gemm_tile(replace(LIMITS, **changed), weight_type, m, n)


@pytest.mark.parametrize(
    ("weight_type", "n", "expected"),
    [
        ("q4_0", 512, "l 128x128 64x64 4x4 128/32"),
        ("q4_k", 512, "l 128x128 64x64 4x4 128/32"),
        ("mxfp4", 64, "m 64x64 32x32 2x2 128/32"),
        ("q6_k", 64, "m 64x64 32x32 2x2 128/32"),
        ("q8_0", 32, "s 32x32 32x32 2x1 32/32"),
    ],
)
def test_nvidia_has_all_three_sizes(weight_type: str, n: int, expected: str) -> None:
    """The tables' rows for subgroups of 32."""
    assert str(tile(weight_type, n=n)) == expected


def test_k_quants_cover_a_subgroup_tile_in_one_step_along_m() -> None:
    """WMITER is all that differs between the two tables."""
    for size_n in (512, 64, 32):
        legacy, k_quant = tile("q8_0", n=size_n), tile("q5_k", n=size_n)
        assert (legacy.wmiter, k_quant.wmiter) == (2, 1)
        assert replace(legacy, wmiter=1) == k_quant


def test_a_large_invocation_has_sixteen_by_eight_results() -> None:
    """128 accumulators an invocation, as llama.cpp has them on NVIDIA."""
    large = tile("q4_0")
    rows = large.wmiter * large.tm
    assert rows == 8
    assert large.bm * large.bn // large.block == rows * 16


@pytest.mark.parametrize(("vendor", "size"), [("rdna", "m"), ("gcn", "m"), ("amdvlk", "m"), ("intel", "m"), ("nvidia", "l")])
def test_large_tiles_are_nvidia_s(vendor: str, size: str) -> None:
    """llama.cpp gives AMD and Intel large tiles with matrix units only."""
    assert tile(**VENDORS[vendor]).size == size


def test_gcn_has_a_medium_tile_of_its_own_for_blocks_of_32() -> None:
    """256 invocations in groups of 16; K-quants have the common one."""
    assert str(tile("q4_0", **GCN)) == "m 64x64 16x16 2x2 256/16"
    assert str(tile("q4_k", **GCN)) == "m 64x64 64x32 2x2 128/64"
    assert str(tile("q4_0", **{**GCN, "driver_id": "VK_DRIVER_ID_AMD_PROPRIETARY"})) == "m 64x64 64x32 2x2 128/64"


@pytest.mark.parametrize("weight_type", TYPES)
def test_the_host_s_table_is_the_sources(weight_type: str) -> None:
    """The words of a block, and one for its scales, decide the shared memory that a device must have."""
    assert intdot._STAGED_WORDS[weight_type] == int(defined(weight_type)["A_WORDS"]) + 1


@pytest.mark.parametrize("subgroup", [4, 8, 16, 32, 64, 128])
@pytest.mark.parametrize("vendor", list(VENDORS))
@pytest.mark.parametrize("weight_type", TYPES)
@pytest.mark.parametrize("n", [32, 64, 512])
def test_every_word_of_a_tile_is_staged_once(weight_type: str, vendor: str, subgroup: int, n: int) -> None:
    """By as many invocations as the type wants for a block of A, and by two for one of B."""
    t = tile(weight_type, n=n, **{**VENDORS[vendor], "subgroup": subgroup})
    for items, rows_there in ((int(defined(weight_type)["A_ITEMS"]), t.bm), (2, t.bn)):
        step = t.block // items
        staged = [(first + at // items, at % items) for first in range(0, rows_there, step) for at in range(t.block)]
        assert sorted(s for s in staged if s[0] < rows_there) == [(row, item) for row in range(rows_there) for item in range(items)]


def elements(t: Tile) -> list[tuple[int, int]]:
    """(row, column) of every result of a workgroup, by gemm/intdot.comp's arithmetic."""
    wniter = t.wm * t.wn // (t.warp * t.tm * t.tn * t.wmiter)
    wsubm, wsubn = t.wm // t.wmiter, t.wn // wniter
    lanes_m = wsubm // t.tm
    found: list[tuple[int, int]] = []
    for invocation in range(t.block):
        warp, lane = divmod(invocation, t.warp)
        m = warp % (t.bm // t.wm) * t.wm + lane % lanes_m * t.tm
        n = warp // (t.bm // t.wm) * t.wn + lane // lanes_m * t.tn
        own_rows = [m + i // t.tm * wsubm + i % t.tm for i in range(t.wmiter * t.tm)]
        own_columns = [n + j // t.tn * wsubn + j % t.tn for j in range(wniter * t.tn)]
        found += product(own_rows, own_columns)
    return found


@pytest.mark.parametrize("subgroup", [8, 16, 32, 64, 128])
@pytest.mark.parametrize("vendor", list(VENDORS))
@pytest.mark.parametrize("weight_type", ["q4_0", "q4_k"])
@pytest.mark.parametrize("n", [32, 64, 512])
def test_every_element_of_a_tile_is_computed_once(weight_type: str, vendor: str, subgroup: int, n: int) -> None:
    """For every size, table and subgroup size there is."""
    changed = {**VENDORS[vendor], "subgroup": subgroup}
    t = tile(weight_type, n=n, **changed)
    assert sorted(elements(t)) == [(m, k) for m in range(t.bm) for k in range(t.bn)]


@given(st.sampled_from(TYPES), st.integers(1, 1 << 16), st.integers(9, 4096), st.sampled_from([16384, 32768, 49152, 65536]))
def test_a_tile_fits_the_shared_memory_that_there_is(weight_type: str, m: int, n: int, shared_memory: int) -> None:
    """The small tile fits the specification's minimum; with 48 KiB the wanted size is taken."""
    t = tile(weight_type, m, n, shared_memory=shared_memory)
    assert intdot.shared_bytes(t, weight_type) <= shared_memory
    if shared_memory >= 49152:
        assert t.size == ("s" if min(m, n) <= 32 else "m" if min(m, n) <= 64 else "l")


@pytest.mark.parametrize(("weight_type", "expected"), [("q8_0", 36864), ("q4_k", 28672), ("iq4_xs", 36880), ("mxfp4", 36880)])
def test_shared_memory_is_what_the_kernel_declares(weight_type: str, expected: int) -> None:
    """128x128: four blocks of each row of A and of B, 9 words of 4 B each, of q4_k 5; mxfp4's table beside them."""
    assert intdot.shared_bytes(tile(weight_type), weight_type) == expected


def rows(weight_type: str = "q4_0", m: int = 4096, k: int = 4096, **changed: Any) -> Rows:
    """The workgroup of a GEMV on a device that is NVIDIA's but for what is changed."""
    return intdot.gemv_rows(replace(LIMITS, **changed), weight_type, m, k)


@pytest.mark.parametrize(
    ("vendor", "expected"),
    [
        ("nvidia", {"q4_0": 1, "q8_0": 1, "q4_k": 1, "q5_k": 1, "q6_k": 1, "mxfp4": 2}),
        ("rdna", {"q4_0": 1, "q8_0": 1, "q4_k": 1, "iq4_xs": 1, "mxfp4": 2}),
        ("gcn", {"q4_0": 4, "q8_0": 4, "q4_k": 1, "iq4_xs": 4, "mxfp4": 8}),
        ("intel", {"q4_0": 2, "q8_0": 2, "q4_k": 1, "iq4_xs": 2, "mxfp4": 4}),
    ],
)
def test_rows_per_workgroup(vendor: str, expected: dict[str, int]) -> None:
    """One; but of K types more on GCN and Intel, and of mxfp4 twice as many."""
    assert {t: rows(t, **VENDORS[vendor]).rows for t in expected} == expected


@pytest.mark.parametrize(
    ("weight_type", "m", "k", "block"),
    [
        ("q4_0", 8192, 1024, 128),
        ("q4_0", 8193, 1024, 32),
        ("q4_0", 8192, 992, 32),
        ("q6_k", 4095, 4096, 128),
        ("q6_k", 4096, 4096, 32),
    ],
)
def test_nvidia_takes_four_subgroups_for_few_long_rows(weight_type: str, m: int, k: int, block: int) -> None:
    """The float GEMV's rule, q6_k's own limit included."""
    assert rows(weight_type, m, k).block == block


def test_amd_and_nvidia_before_turing_take_one_subgroup() -> None:
    """And so does an NVK that lists no cooperative matrix."""
    assert rows(**RDNA).block == 64
    assert rows(coopmat=False).block == 32


def test_intel_requires_its_smallest_subgroup() -> None:
    """Others require the device's own size, or nothing where they can't."""
    assert (rows(**INTEL).required, rows(**INTEL).block) == (16, 64)
    assert rows(**RDNA).required == 64
    assert rows(required_sizes=None).required is None


def test_without_subgroup_arithmetic_sums_go_through_shared_memory() -> None:
    """On Apple's GPUs too, where llama.cpp leaves it off."""
    assert rows(arithmetic=False).reduce == rows(vendor=Vendor.APPLE).reduce == "shared"
    assert rows().reduce == "subgroup"


def resolved(op: str, weight_type: str, shape: Shape, device: str = "nvk-172") -> Resolved:
    """One intdot cell on a recorded device."""
    (made,) = resolve([Cell(op=op, path="intdot", type=weight_type, accumulator="f32", shape=shape)], recorded(device))
    return made


@pytest.mark.parametrize("device", NAMES)
@pytest.mark.parametrize("op", ["gemm", "gemv"])
def test_recorded_devices_run_it(op: str, device: str) -> None:
    """Dot products need not be accelerated, only there."""
    made = resolved(op, "q4_0", Shape(4096, 512 if op == "gemm" else 8, 14336), device)
    assert made.reason is None
    assert made.job.activations == "q8_1"
    names = {member for c in made.requirement.conditions if isinstance(c, Feature) for _, member in c.alternatives}
    assert "shaderIntegerDotProduct" in names


def test_gemm_constants_and_grid() -> None:
    """In the order of the ids, BK, TK and ALIGNED included."""
    job = resolved("gemm", "q4_0", Shape(300, 200, 14336)).job
    assert job.constants == list(enumerate((128, 128, 128, 32, 64, 64, 2, 4, 4, 1, 32, 1)))
    assert job.groups == (3, 2, 1)
    assert limits(recorded("nvk-172")).subgroup == 32
