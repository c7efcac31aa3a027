"""A device's roofline, of its own copies and peaks as this driver delivers them, and how near to it a job came. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from vkprobe.bench import coopmat2
from vkprobe.bench.cells import Cell
from vkprobe.bench.peaks import DEVICE_COPIES, copy_cells, peak_cells
from vkprobe.bench.policy import QUICK, Policy
from vkprobe.bench.resolve import Resolved, resolve
from vkprobe.footprint import flop, traffic_bytes
from vkprobe.records import DeviceRecord, ResultRecord

OPS = ("copy", "peak")


class Arithmetic(NamedTuple):
    """What peaks are told apart by; any matrix shape where `tuple` is None."""

    path: str
    type: str
    accumulator: str
    tuple: str | None = None

    def of(self, peak: ResultRecord | Cell) -> bool:
        """Whether a peak is of this arithmetic."""
        return (peak.op, peak.path, peak.type, peak.accumulator) == ("peak", *self[:3]) and self.tuple in (None, peak.tuple)


_F32 = Arithmetic("scalar-f32", "f32", "f32")
_VECTORS = {
    ("scalar-f32", "f32"): _F32,
    ("scalar-f16", "f16"): Arithmetic("scalar-f16", "f16", "f16"),
    ("scalar-f16", "f32"): _F32,  # f16 numbers become f32 before they are multiplied
    ("dot2", "f32"): Arithmetic("dot2", "f16", "f32"),
}


def arithmetics(resolved: Resolved) -> tuple[Arithmetic, ...]:
    """What a cell multiplies with; of several, the first must have a peak, and the highest counts. Empty where it multiplies nothing."""
    cell = resolved.cell
    if cell.op not in ("gemm", "gemv"):
        return ()
    if cell.path == "intdot":
        return (Arithmetic("intdot", "s8", "s32"),)
    component = "bf16" if cell.type == "bf16" else "f16"
    if cell.path == "coopmat":
        return (Arithmetic("coopmat", component, cell.accumulator, cell.tuple),)
    if cell.path == "coopmat2":
        subgroup = Arithmetic("coopmat", component, cell.accumulator)
        if resolved.kernel.tier == coopmat2.REDUCED:
            return (subgroup,)
        return Arithmetic("coopmat2", component, cell.accumulator), subgroup
    known = _VECTORS.get((cell.path, cell.accumulator))
    return () if known is None else (known,)


def needed(resolved: Sequence[Resolved], device: DeviceRecord) -> list[Resolved]:
    """The copies and peaks that the roofline of these cells is made of, of those that the device can run."""
    measured = [r for r in resolved if r.reason is None and r.cell.op not in OPS]
    if not measured:
        return []
    wanted = {one for r in measured for one in arithmetics(r)}
    cells = [cell for cell in copy_cells(device) if cell.kernel in DEVICE_COPIES]
    cells += [cell for cell in peak_cells(device) if any(one.of(cell) for one in wanted)]
    return [r for r in resolve(cells, device) if r.reason is None]


def brief(policy: Policy) -> Policy:
    """`policy` with rounds no more and no longer than the quick one's: for ceilings that nobody asked for."""
    names = ("least_rounds", "most_rounds", "least_samples", "least_s", "settle_s", "gap_s")
    return msgspec.structs.replace(policy, **{name: min(getattr(policy, name), getattr(QUICK, name)) for name in names})


class Ceilings:
    """The results of copies and peaks that are right."""

    def __init__(self, results: Iterable[ResultRecord] = ()) -> None:
        self._results: list[ResultRecord] = []
        for result in results:
            self.add(result)

    def add(self, result: ResultRecord) -> None:
        """Take a result; those of other ops, or that are not ok, are no ceilings."""
        if result.op in OPS and result.status == "ok":
            self._results.append(result)

    def share(self, resolved: Resolved, median_s: float) -> float | None:
        """The time that the roofline allows over the time measured (s); None where a ceiling is missing, or there is none.

        Arithmetic takes its FLOP at the peak, memory its bytes at the best copy inside the device: the longer one counts. Of a hot cell,
        whose data may come out of a cache, only arithmetic counts, and of one that is bound by memory that means nothing. Above 1 the
        peak's own kernel fell short.
        """
        job, hot = resolved.job, resolved.cell.residency == "hot"
        flops = flop(job)
        if job.op in OPS or (hot and job.op != "gemm"):
            return None
        allowed = []
        if flops is not None:
            peak = self._peak(arithmetics(resolved))
            if peak is None:
                return None
            allowed.append(flops / peak)
        if not hot:
            bandwidth = self._bandwidth()
            if bandwidth is None:
                return None
            allowed.append(traffic_bytes(job) / bandwidth)
        return max(allowed) / median_s

    def _peak(self, wanted: Sequence[Arithmetic]) -> float | None:
        """The highest rate of these (FLOP/s)."""
        found = [(one, r.flops_per_s) for one in wanted for r in self._results if one.of(r) and isinstance(r.flops_per_s, float)]
        return max(rate for _, rate in found) if any(one == wanted[0] for one, _ in found) else None

    def _bandwidth(self) -> float | None:
        """The highest rate of a copy inside the device (B/s)."""
        copies = (r for r in self._results if r.op == "copy" and r.kernel in DEVICE_COPIES)
        return max((r.bytes_per_s for r in copies if isinstance(r.bytes_per_s, float)), default=None)
