"""The cells of copy and peak on recorded devices: which there are, how large, and their plans."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.pure.recorded_devices import NAMES, recorded, with_properties
from vkprobe import ops
from vkprobe.cell import Cell
from vkprobe.device_facts import Heap
from vkprobe.llama.device import limits
from vkprobe.ops.base import Request
from vkprobe.ops.peak.shapes import ROUNDS, WIDTHS, Matrices, rounds, tile_matrices, workgroup_matrices
from vkprobe.ops.plan import Plan, plans
from vkprobe.program import Program, Transfer
from vkprobe.records import DeviceRecord

EVERY = (*NAMES, "nvidia-h200")
MIB = 1 << 20


COPY, PEAK = ops.find("copy"), ops.find("peak")
INSIDE, TRANSFERS = {"copy_shader", "read_shader", "copy_device"}, {"copy_to_host", "copy_from_host"}


def peak_cells(device: DeviceRecord) -> list[Cell]:
    """All peaks."""
    return PEAK.cells(Request(), device)


def able(device: DeviceRecord) -> list[Plan]:
    """The peaks that a device can run."""
    return [p for p in plans(peak_cells(device), device) if p.reason is None]


def copies(device: DeviceRecord) -> dict[str, Program]:
    """The programs of copies by name."""
    return {p.kernel.name: p.program for p in plans(COPY.cells(Request(), device), device)}


def matrices(plan: Plan, device: DeviceRecord) -> Matrices:
    """A workgroup's matrices, from the constants of its kernel."""
    assert plan.program.first is not None
    constants = plan.program.first.constants
    shape = constants["m"], constants["n"], constants["k"]
    workgroup = plan.cell.variant.path == "coopmat2"
    return workgroup_matrices(plan.kernel, shape) if workgroup else tile_matrices(plan.kernel, shape, limits(device))


@pytest.mark.parametrize("name", EVERY)
def test_every_device_has_copies_and_vector_peaks(name: str) -> None:
    """All five copies everywhere; f32, f16 and 8-bit peaks; every matrix peak of its own tuple."""
    device = recorded(name)
    assert set(copies(device)) == INSIDE | TRANSFERS
    assert all(p.reason is None for p in plans(COPY.cells(Request(), device), device))
    assert {"peak_scalar_f32", "peak_scalar_f16", "peak_intdot"} <= {r.kernel.name for r in able(device)}
    listed = {(t.a, t.b, t.c, f"{t.m}x{t.n}x{t.k}") for t in device.coopmat.khr or []}
    tuples = {(r.kernel.a, r.kernel.b, r.kernel.c, r.cell.variant.tuple) for r in able(device) if r.cell.variant.path == "coopmat"}
    assert tuples == listed  # saturating ones are the same types and shapes


@pytest.mark.parametrize("name", EVERY)
def test_no_two_peaks_are_one_cell(name: str) -> None:
    """Tuples that differ in saturation only are measured once."""
    cells = peak_cells(recorded(name))
    assert len(set(cells)) == len(cells) == len({PEAK.sentence(cell) for cell in cells})


@pytest.mark.parametrize("name", EVERY)
def test_a_peak_ends_where_it_did_not_begin(name: str) -> None:
    """A vector kernel's rotation stops away from its start, a matrix kernel's last product is not taken back."""
    for r in able(recorded(name)):
        path, multiply_adds = r.cell.variant.path or "", r.cell.axis("multiply_adds")
        if path in WIDTHS:
            assert rounds(multiply_adds, path) % ROUNDS == 0
            assert rounds(multiply_adds, path) % 6 != 0
        else:
            shape = matrices(r, recorded(name))
            assert shape.multiply_adds(shape.pairs(multiply_adds)) == multiply_adds
            assert shape.pairs(multiply_adds) % (4 if path == "coopmat" else 1) == 0


@pytest.mark.parametrize("name", EVERY)
def test_flop_are_those_of_the_matrices(name: str) -> None:
    """Two a multiply-add, counted from the other end: workgroups, sums, additions to each, and the product's own shape."""
    for r in able(recorded(name)):
        path = r.cell.variant.path or ""
        groups, local, multiply_adds = (r.cell.axis(axis) for axis in ("workgroups", "invocations", "multiply_adds"))
        assert r.program.first is not None
        assert local == r.program.first.constants["block"]
        assert r.program.first.groups == (groups, 1, 1)
        if path in WIDTHS:
            assert PEAK.flop(r.cell) == 2 * groups * local * 16 * rounds(multiply_adds, path) * WIDTHS[path]
        else:
            s = matrices(r, recorded(name))
            additions = s.tiles * s.side**2 * (2 * s.pairs(multiply_adds) + 1)
            assert PEAK.flop(r.cell) == 2 * groups * additions * s.m * s.n * s.k


def test_an_h200_has_matrices_of_workgroup_scope() -> None:
    """Three shapes of each type and accumulator; all peaks have a whole number of workgroups for each shader core."""
    peaks = able(recorded("nvidia-h200"))
    tuples = {(v.type, v.accumulator, v.tuple) for v in (r.cell.variant for r in peaks) if v.path == "coopmat2"}
    shapes = ("128x256x16", "128x256x64", "128x128x64")
    assert tuples == {(a, c, shape) for a, c in (("f16", "f16"), ("f16", "f32"), ("bf16", "f32")) for shape in shapes}
    assert all(r.program.first and r.program.first.groups[0] % 132 == 0 for r in peaks)
    assert all(r.cell.axis("invocations") == 256 for r in peaks if r.cell.variant.path == "coopmat2")


@pytest.mark.parametrize("name", ["turnip-750", "lvp", "radv-gfx1201"])
def test_what_a_device_lacks_is_reported_in_two_cells(name: str) -> None:
    """No tuple at all, or none of workgroup scope: one for each accumulator."""
    refused = [r for r in plans(peak_cells(recorded(name)), recorded(name)) if r.reason is not None]
    workgroup = [r for r in refused if r.cell.variant.path == "coopmat2"]
    assert [r.cell.variant.accumulator for r in workgroup] == ["f16", "f32"]
    assert all("ooperative" in (r.reason or "") for r in workgroup)
    subgroup = [r for r in refused if r.cell.variant.path == "coopmat"]
    assert [r.cell.variant.accumulator for r in subgroup] == (["f16", "f32"] if name == "turnip-750" else [])


def test_copies_are_beyond_caches_but_on_small_devices() -> None:
    """256 MiB; an eighth of a small heap, no more than a buffer may have; a few MiB where a processor copies."""

    def copied(device: DeviceRecord) -> int:
        (size,) = {program.source.bytes for program in copies(device).values()}
        return size

    h200 = recorded("nvidia-h200")
    assert copied(h200) == 256 * MIB
    assert copied(recorded("lvp")) == 8 * MIB
    assert copied(replace(h200, heaps=[Heap(bytes=1000 * MIB, device_local=True)])) == 125 * MIB
    assert copied(with_properties(h200, maxStorageBufferRange=128 * MIB)) == 128 * MIB


def test_what_a_copy_counts() -> None:
    """Read and written inside the device; read only of a reader; once what crosses to the host or from it."""
    programs = copies(recorded("nvidia-h200"))
    counted = {name: COPY.traffic_bytes(program) / program.source.bytes for name, program in programs.items()}
    assert counted == {"copy_shader": 2, "read_shader": 1, "copy_device": 2, "copy_to_host": 1, "copy_from_host": 1}
    assert programs["read_shader"].output.bytes < 256 * 1024
    assert all(COPY.flop(program.cell) is None for program in programs.values())
    transferred = {name for name, program in programs.items() if isinstance(program.stages[0], Transfer)}
    assert transferred == {"copy_device", *TRANSFERS}


def test_copies_share_their_buffers() -> None:
    """One source in the device and one in the host's memory: together they fit a small device."""
    held: dict[str, int] = {}
    for program in copies(recorded("nvidia-h200")).values():
        held.update({buffer.key: buffer.bytes for buffer in program.buffers})
    assert sum(held.values()) // MIB == 5 * 256  # a source and a target inside, a source and a target outside, what comes from there


def test_peaks_of_equal_size_have_buffers_of_their_own() -> None:
    """Tuples of one kernel read different matrices, however alike their work is."""
    programs = [r.program for r in able(recorded("nvidia-h200")) if r.cell.variant.path == "coopmat"]
    assert len({buffer.key for program in programs for buffer in program.buffers}) == 2 * len(programs)
