"""The cells of copy and peak on recorded devices: which there are, how large, and what comes of them as jobs."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.pure.recorded_devices import NAMES, recorded, with_properties
from vkprobe.bench.peaks import DEVICE_COPIES, TRANSFERS, copy_cells, peak_cells
from vkprobe.bench.resolve import Resolved, resolve
from vkprobe.footprint import buffers, flop, footprint, traffic_bytes
from vkprobe.jobs import Job
from vkprobe.peak import ROUNDS, WIDTHS, matrices, rounds
from vkprobe.records import DeviceRecord, Heap

EVERY = (*NAMES, "nvidia-h200")
MIB = 1 << 20


def able(device: DeviceRecord) -> list[Resolved]:
    """The peaks that a device can run."""
    return [r for r in resolve(peak_cells(device), device) if r.reason is None]


def copies(device: DeviceRecord) -> dict[str, Job]:
    """The jobs of copies by name."""
    return {r.kernel.name: r.job for r in resolve(copy_cells(device), device)}


@pytest.mark.parametrize("name", EVERY)
def test_every_device_has_copies_and_vector_peaks(name: str) -> None:
    """All five copies everywhere; f32, f16 and 8-bit peaks; every matrix peak of its own tuple."""
    device = recorded(name)
    assert set(copies(device)) == {*DEVICE_COPIES, *TRANSFERS}
    assert all(r.reason is None for r in resolve(copy_cells(device), device))
    assert {"peak_scalar_f32", "peak_scalar_f16", "peak_intdot"} <= {r.kernel.name for r in able(device)}
    listed = {(t.a, t.b, t.c, f"{t.m}x{t.n}x{t.k}") for t in device.coopmat.khr or []}
    found = {(r.kernel.a, r.kernel.b, r.kernel.c, r.cell.tuple) for r in able(device) if r.cell.path == "coopmat"}
    assert found == listed  # saturating ones are the same types and shapes


@pytest.mark.parametrize("name", EVERY)
def test_no_two_peaks_are_one_cell(name: str) -> None:
    """Tuples that differ in saturation only are measured once."""
    cells = peak_cells(recorded(name))
    assert len(set(cells)) == len(cells) == len(set(map(str, cells)))


@pytest.mark.parametrize("name", EVERY)
def test_a_peak_ends_where_it_did_not_begin(name: str) -> None:
    """A vector kernel's rotation stops away from its start, a matrix kernel's last product is not taken back."""
    for r in able(recorded(name)):
        if r.cell.path in WIDTHS:
            assert rounds(r.job) % ROUNDS == 0
            assert rounds(r.job) % 6 != 0
        else:
            shape = matrices(r.job)
            assert shape.multiply_adds(shape.pairs(r.job.k)) == r.job.k
            assert shape.pairs(r.job.k) % (4 if r.cell.path == "coopmat" else 1) == 0


@pytest.mark.parametrize("name", EVERY)
def test_flop_are_those_of_the_matrices(name: str) -> None:
    """Two a multiply-add, counted from the other end: workgroups, sums, additions to each, and the product's own shape."""
    for r in able(recorded(name)):
        assert r.job.n == dict(r.job.constants)[0]
        if r.cell.path in WIDTHS:
            assert flop(r.job) == 2 * r.job.m * r.job.n * 16 * rounds(r.job) * WIDTHS[r.cell.path]
        else:
            s = matrices(r.job)
            additions = s.tiles * s.side**2 * (2 * s.pairs(r.job.k) + 1)
            assert flop(r.job) == 2 * r.job.m * additions * s.m * s.n * s.k


def test_an_h200_has_matrices_of_workgroup_scope() -> None:
    """Three shapes of each type and accumulator; all peaks have a whole number of workgroups for each shader core."""
    peaks = able(recorded("nvidia-h200"))
    found = {(r.cell.type, r.cell.accumulator, r.cell.tuple) for r in peaks if r.cell.path == "coopmat2"}
    shapes = ("128x256x16", "128x256x64", "128x128x64")
    assert found == {(a, c, shape) for a, c in (("f16", "f16"), ("f16", "f32"), ("bf16", "f32")) for shape in shapes}
    assert all(r.job.groups[0] % 132 == 0 for r in peaks)
    assert all(r.job.n == 256 for r in peaks if r.cell.path == "coopmat2")


@pytest.mark.parametrize("name", ["turnip-750", "lvp", "radv-gfx1201"])
def test_what_a_device_lacks_is_told_in_two_cells(name: str) -> None:
    """No tuple at all, or none of workgroup scope: one for each accumulator."""
    refused = [r for r in resolve(peak_cells(recorded(name)), recorded(name)) if r.reason is not None]
    workgroup = [r for r in refused if r.cell.path == "coopmat2"]
    assert [r.cell.accumulator for r in workgroup] == ["f16", "f32"]
    assert all("ooperative" in (r.reason or "") for r in workgroup)
    subgroup = [r for r in refused if r.cell.path == "coopmat"]
    assert [r.cell.accumulator for r in subgroup] == (["f16", "f32"] if name == "turnip-750" else [])


def test_copies_are_beyond_caches_but_on_small_devices() -> None:
    """256 MiB; an eighth of a small heap, no more than a buffer may have; a few MiB where a processor copies."""

    def copied(device: DeviceRecord) -> int:
        (size,) = {footprint(job).source for job in copies(device).values()}
        return size

    h200 = recorded("nvidia-h200")
    assert copied(h200) == 256 * MIB
    assert copied(recorded("lvp")) == 8 * MIB
    assert copied(replace(h200, heaps=[Heap(bytes=1000 * MIB, device_local=True)])) == 125 * MIB
    assert copied(with_properties(h200, maxStorageBufferRange=128 * MIB)) == 128 * MIB


def test_what_a_copy_counts() -> None:
    """Read and written inside the device; read only of a reader; once what crosses to the host or from it."""
    jobs = copies(recorded("nvidia-h200"))
    counted = {name: traffic_bytes(job) / footprint(job).source for name, job in jobs.items()}
    assert counted == {"copy_shader": 2, "read_shader": 1, "copy_device": 2, "copy_to_host": 1, "copy_from_host": 1}
    assert footprint(jobs["read_shader"]).output < 256 * 1024
    assert all(flop(job) is None for job in jobs.values())
    assert [jobs[name].transfer for name in (*DEVICE_COPIES, *TRANSFERS)] == [False, False, True, True, True, True]


def test_copies_share_their_buffers() -> None:
    """One source in the device and one in the host's memory: together they fit a small device."""
    jobs = copies(recorded("nvidia-h200")).values()
    held: dict[object, int] = {}
    for job in jobs:
        held.update(buffers(job))
    assert sum(held.values()) // MIB == 5 * 256  # a source and a target inside, a source and a target outside, what comes from there


def test_peaks_of_equal_size_have_buffers_of_their_own() -> None:
    """Tuples of one kernel read different matrices, however alike their work is."""
    jobs = [r.job for r in able(recorded("nvidia-h200")) if r.cell.path == "coopmat"]
    assert len({key for job in jobs for key in buffers(job)}) == 2 * len(jobs)
