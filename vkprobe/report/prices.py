"""The price of a gap: the device's path with the gap closed against the path that llama.cpp takes on it today. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import geometric_mean
from typing import NamedTuple

from vkprobe.llama.device import Limits, limits
from vkprobe.llama.paths import Workload, choose
from vkprobe.ops.products import default_accumulator, product_of, tuple_names
from vkprobe.records import DeviceRecord, PriceRecord, ResultRecord
from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.load import all_requirements, requirement
from vkprobe.requirements.model import Requirement, comes_with
from vkprobe.results.tidy import Line

Axes = Mapping[str, int]
PathToday = Callable[[DeviceRecord, str, str, Axes], "str | None"]
"""The path that llama.cpp takes on a device for an op, a type and axes; None where it takes none or the facts don't say."""
PathClosed = Callable[[DeviceRecord, Requirement, str, str, Axes], "str | None"]
"""The same with a requirement's gap closed."""

_FEW_TYPES = 3
_Axes = tuple[tuple[str, int], ...]
_Workload = tuple[_Axes, "str | None"]
"""Axes and residency."""


class Paths(NamedTuple):
    """The rules by which paths are chosen."""

    today: PathToday
    closed: PathClosed


class Baseline(NamedTuple):
    """The rates of one device, measured as llama.cpp would run: (op, type) -> workload -> path -> rate (higher is better)."""

    device: str
    rates: dict[tuple[str, str], dict[_Workload, dict[str, float]]]


def baseline_of(device: DeviceRecord, results: Iterable[ResultRecord], *, name: str | None = None) -> Baseline:
    """The rates of a device's mimic cells with llama.cpp's accumulator and tuple; of several cells left, the fastest."""
    rates: dict[tuple[str, str], dict[_Workload, dict[str, float]]] = {}
    facts = limits(device)
    for result in results:
        rate = Line(device=device.device, record=result).rate
        if result.status != "ok" or rate is None or result.path is None or result.type is None or not _as_llama_runs(device, facts, result):
            continue
        by_path = rates.setdefault((result.op, result.type), {}).setdefault((result.cell.axes, result.residency), {})
        by_path[result.path] = max(rate, by_path.get(result.path, 0.0))
    return Baseline(name or device.device, rates)


def _as_llama_runs(device: DeviceRecord, facts: Limits, result: ResultRecord) -> bool:
    if result.tier != "mimic" or result.accumulator is None:
        return False
    assert result.path is not None
    assert result.type is not None
    if result.accumulator != default_accumulator(result.path, result.type, facts):
        return False
    return result.tuple is None or result.tuple in tuple_names(device, result.type, result.accumulator, ("default",))


def prices(device: DeviceRecord, need: Requirement, baselines: Sequence[Baseline], paths: Paths) -> list[PriceRecord]:
    """The price of one gap of a device for each op and type that changes its path, the dearest first.

    A price is the geometric mean, over workloads, of the rate of the path with the gap closed over the rate of today's path. Both are
    measured on one device: the one of `baselines` with the most such workloads, the first of several. A path that a requirement
    among those which `need` includes would bring by itself is that one's gain, not this one's.
    """
    parts = [requirement(path) for path in need.includes]
    steps = [need, *_brought(device, need)]
    lesser = [part for part in parts if evaluate(device, part).met is not True]
    gains = []
    for op, kind in dict.fromkeys(key for baseline in baselines for key in baseline.rates):
        offers = [_price(device, steps, lesser, op, kind, baseline, paths) for baseline in baselines]
        best = max((offer for offer in offers if offer is not None), key=lambda offer: offer.workloads, default=None)
        if best is not None:
            gains.append(best)
    return sorted(gains, key=lambda price: -price.ratio)


def _brought(device: DeviceRecord, need: Requirement) -> list[Requirement]:
    """The requirements that come with `need`: they include it and lack nothing besides but tuples, and parts of extensions it brings.

    A driver that adds bf16 to its matrices adds their tuples too.
    """
    missing = evaluate(device, need).missing
    extensions = {m.name for m in missing if m.kind == "extension"}
    closed = {(m.kind, m.name) for m in missing}
    return [
        other
        for other in all_requirements()
        if need.path in other.includes
        and all(m.kind == "tuple" or (m.kind, m.name) in closed or comes_with(m, extensions) for m in evaluate(device, other).missing)
    ]


def _price(
    device: DeviceRecord, steps: Sequence[Requirement], lesser: Sequence[Requirement], op: str, kind: str, baseline: Baseline, paths: Paths
) -> PriceRecord | None:
    """The price on one baseline; None where it has no workload with both paths. Of several changes of path, the most frequent counts.

    Args:
        steps: the gap's requirement, then those that come with it.
        lesser: requirements among those that it includes which the device doesn't meet.
    """
    ratios: dict[tuple[str, str], list[float]] = {}
    for workload, rates in baseline.rates.get((op, kind), {}).items():
        axes = dict(workload[0])
        today = paths.today(device, op, kind, axes)
        reached = [paths.closed(device, step, op, kind, axes) for step in steps]
        then = next((path for path in reversed(reached) if path not in (None, today)), None)
        if today is None or then is None:
            continue
        if any(paths.closed(device, part, op, kind, axes) == then for part in lesser):
            continue
        if today in rates and then in rates:
            ratios.setdefault((today, then), []).append(rates[then] / rates[today])
    if not ratios:
        return None
    (today, then), values = max(ratios.items(), key=lambda item: len(item[1]))
    return PriceRecord(
        op=op,
        type=kind,
        ratio=geometric_mean(values),
        from_path=today,
        to_path=then,
        measured_on=baseline.device,
        workloads=len(values),
    )


class ChosenPaths:
    """llama.cpp's choice of paths, worked out once per device and gap for all workloads.

    Args:
        baselines: whose workloads will be asked for.
    """

    def __init__(self, baselines: Iterable[Baseline]) -> None:
        workloads = [
            (op, kind, axes) for baseline in baselines for (op, kind), by_workload in baseline.rates.items() for axes, _ in by_workload
        ]
        self._workloads = {key: work for key in dict.fromkeys(workloads) if (work := _workload(*key)) is not None}
        self._tables: dict[tuple[int, str | None], dict[tuple[str, str, _Axes], str | None]] = {}
        self._devices: list[DeviceRecord] = []  # kept alive, as their identity is a key

    def today(self, device: DeviceRecord, op: str, kind: str, axes: Axes) -> str | None:
        """The path that `device` takes today; see `PathToday`."""
        return self._table(device, None).get((op, kind, tuple(axes.items())))

    def closed(self, device: DeviceRecord, need: Requirement, op: str, kind: str, axes: Axes) -> str | None:
        """The path that `device` takes once `need` is met; see `PathClosed`."""
        return self._table(device, need).get((op, kind, tuple(axes.items())))

    def _table(self, device: DeviceRecord, need: Requirement | None) -> dict[tuple[str, str, _Axes], str | None]:
        key = id(device), need.path if need is not None else None
        if key not in self._tables:
            self._devices.append(device)
            chosen = choose(device, list(self._workloads.values()), closed=() if need is None else (need.path,))
            self._tables[key] = {work: choice.path for work, choice in zip(self._workloads, chosen, strict=True)}
        return self._tables[key]


def _workload(op: str, kind: str, axes: _Axes) -> Workload | None:
    """The product that llama.cpp chooses a path for; None of ops and types for which it has no choice."""
    named = dict(axes)
    if set(named) != {"m", "n", "k"}:
        return None
    work = Workload(kind, named["m"], named["n"], named["k"])
    return work if product_of(work.n) == op else None


def in_words(gains: Sequence[PriceRecord]) -> str:
    """Prices in one line: `worth 3.9x in gemm bf16 (coopmat in place of scalar-f32, measured on nvidia/0, 1 workload)`."""
    groups: dict[tuple[str, str, str, str], list[PriceRecord]] = {}
    for price in gains:
        groups.setdefault((price.op, price.from_path, price.to_path, price.measured_on), []).append(price)
    texts = []
    for (op, before, after, where), members in groups.items():
        count = sum(price.workloads for price in members)
        how = f"({after} in place of {before}, measured on {where}, {count} workload{'s' * (count != 1)})"
        texts.append(f"{_ratios(op, members)} {how}")
    return f"worth {'; '.join(texts)}"


def _ratios(op: str, members: Sequence[PriceRecord]) -> str:
    """The ratios of an op's types; of many types the highest and the lowest."""
    if len(members) <= _FEW_TYPES:
        return ", ".join(f"{price.ratio:.1f}x in {op} {price.type}" for price in members)
    most, least = members[0], members[-1]
    return f"{most.ratio:.1f}x in {op} {most.type} to {least.ratio:.1f}x in {op} {least.type}, {len(members)} types"
