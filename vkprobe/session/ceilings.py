"""A device's roofline, from its own copies and peaks as this driver delivers them, and how near to it a cell came. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from vkprobe import ops
from vkprobe.ops.base import Arithmetic, Request
from vkprobe.ops.plan import Plan, plans
from vkprobe.records import DeviceRecord, ResultRecord
from vkprobe.session.policy import QUICK, Policy


def needed(planned: Sequence[Plan], device: DeviceRecord) -> list[Plan]:
    """The ceilings that these cells' roofline is made of, as far as the device can run them."""
    measured = [p for p in planned if p.reason is None and not ops.find(p.cell.op).ceiling]
    if not measured:
        return []
    wanted = {one for p in measured for one in ops.find(p.cell.op).arithmetics(p)}
    cells = [cell for op in ops.every() if op.ceiling for cell in op.cells(Request(), device) if op.limits(cell, wanted)]
    return [p for p in plans(cells, device) if p.reason is None]


def brief(policy: Policy) -> Policy:
    """`policy` with rounds no more and no longer than the quick one's: for ceilings that nobody asked for."""
    names = ("least_rounds", "most_rounds", "least_samples", "least_s", "settle_s", "gap_s")
    return msgspec.structs.replace(policy, **{name: min(getattr(policy, name), getattr(QUICK, name)) for name in names})


class Ceilings:
    """The verified results of ceilings."""

    def __init__(self, results: Iterable[ResultRecord] = ()) -> None:
        self._results: list[ResultRecord] = []
        for result in results:
            self.add(result)

    def add(self, result: ResultRecord) -> None:
        """Take a result; those of other ops, or that aren't ok, are no ceilings."""
        if ops.find(result.op).ceiling and result.status == "ok":
            self._results.append(result)

    def share(self, plan: Plan, median_s: float) -> float | None:
        """The time that the roofline allows over the time measured (s); None if a ceiling is missing, or there is none.

        Arithmetic takes its FLOP at the peak, memory its bytes at the best copy inside the device: the longer one counts. For a hot
        cell, whose data may come out of a cache, only arithmetic counts, and a hot cell that is bound by memory has no share. Above 1
        the peak's own kernel fell short.
        """
        op, hot = ops.find(plan.cell.op), plan.cell.variant.residency == "hot"
        flops = op.flop(plan.cell)
        if op.ceiling or (hot and op.measure != "flops_per_s"):
            return None
        allowed = []
        if flops is not None:
            peak = self._peak(op.arithmetics(plan))
            if peak is None:
                return None
            allowed.append(flops / peak)
        if not hot:
            bandwidth = self._bandwidth()
            if bandwidth is None:
                return None
            allowed.append(op.traffic_bytes(plan.program) / bandwidth)
        return max(allowed) / median_s

    def _peak(self, wanted: Sequence[Arithmetic]) -> float | None:
        """The highest rate of these (FLOP/s)."""
        fitting = [(one, r.flops_per_s) for one in wanted for r in self._results if one.fits(r.cell) and isinstance(r.flops_per_s, float)]
        return max(rate for _, rate in fitting) if any(one == wanted[0] for one, _ in fitting) else None

    def _bandwidth(self) -> float | None:
        """The highest rate of a copy inside the device (B/s)."""
        inside = (r for r in self._results if ops.find(r.op).limits(r.cell, ()) and isinstance(r.bytes_per_s, float))
        return max((r.bytes_per_s for r in inside if isinstance(r.bytes_per_s, float)), default=None)
