"""Gaps in words: the requirement cells of the matrix, and each device's list of what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from vkprobe.records import ResultRecord
from vkprobe.report import prices
from vkprobe.report.model import Cell, Column, Loss, Section
from vkprobe.requirements import Gap, Requirement, requirements
from vkprobe.requirements.model import comes_with
from vkprobe.requirements.words import condition_in_words, short_name
from vkprobe.results.keys import DeviceKey
from vkprobe.results.store import Store


def gap_cell(gap: Gap, need: Requirement) -> Cell:
    """`yes`, `partial n of m`, `no: first missing`, or `unknown`, with everything that is missing as the reason."""
    if gap.met is True:
        return Cell(status="met", main="yes", gap=gap)
    reason = missing_in_words(gap)
    if gap.met is None:
        return Cell(status="unknown", main="unknown", reason=f"the facts don't say: {reason}", gap=gap)
    if gap.part is not None and gap.part[0]:
        held, total = gap.part
        if held < total:
            return Cell(status="partial", main=f"partial {held} of {total}", reason=reason, gap=gap)
        return Cell(status="partial", main=f"partial {gap.held} of {gap.total}", reason=reason, gap=gap)
    first = next(m for m in gap.missing if m.have is not None)
    return Cell(status="unmet", main=f"no: {short_name(first)}", brief="no", reason=reason, gap=gap)


def missing_in_words(gap: Gap) -> str:
    """Everything that is missing, as one text."""
    return "; ".join(missing_conditions(gap))


def missing_conditions(gap: Gap) -> tuple[str, ...]:
    """Each missing condition in words; an extension that is missing as a whole stands for its parts."""
    lacking = {m.name for m in gap.missing if m.kind == "extension" and m.have is False}
    shown = [m for m in gap.missing if not comes_with(m, lacking)]
    words = [condition_in_words(m) for m in shown]
    listed = dict.fromkeys(str(m.have) for m in shown if m.kind == "tuple" and m.have is not None)
    if listed:
        words[-1] += f" (the device lists {', '.join(listed)})"
    return tuple(words)


_WEIGHT = ("scalar-f16", "coopmat", "coopmat2", "intdot", "coopmat-bf16", "bf16", "dot2", "float8")
"""The order of gaps without a price: the paths whose loss weighs most come first. Requirements that aren't here come last."""


def losses_of(required: Section, columns: Sequence[Column], store: Store, baseline: int | None) -> tuple[Loss, ...]:
    """Every path that a device lacks, with who has it; the dearest first, then certain ones, then by device."""
    needs = {r.path: r for r in requirements()}
    baselines = baselines_of(columns, store, baseline)
    rules = prices.ChosenPaths(baselines)
    paths = prices.Paths(rules.today, rules.closed)
    losses = []
    for index, column in enumerate(required.columns):
        device = columns[column].device
        for row in required.rows:
            gap = row.cells[index].gap
            if gap is None or gap.met is True:
                continue
            owners = tuple(c for c, cell in zip(required.columns, row.cells, strict=True) if cell.gap is not None and cell.gap.met)
            losses.append(
                Loss(
                    column=column,
                    path=gap.path,
                    label=needs[gap.path].label,
                    met=gap.met,
                    missing=missing_conditions(gap),
                    sources=tuple(dict.fromkeys(m.source for m in gap.missing)),
                    owners=owners,
                    prices=() if device is None else tuple(prices.prices(device, needs[gap.path], baselines, paths)),
                )
            )
    return tuple(sorted(losses, key=_dearest))


def baselines_of(columns: Sequence[Column], store: Store, baseline: int | None) -> list[prices.Baseline]:
    """The measurements that prices are taken from: the baseline's where it has any, else each device's.

    A device that runs on the CPU says nothing about others.
    """
    by_key: dict[DeviceKey, list[ResultRecord]] = {}
    for (key, _), result in store.results.items():
        by_key.setdefault(key, []).append(result)
    chosen = columns if baseline is None or columns[baseline].key not in by_key else [columns[baseline]]
    return [
        prices.baseline_of(column.device, by_key[column.key], name=column.id)
        for column in chosen
        if column.device is not None and not column.software and not column.null and column.key in by_key
    ]


def _dearest(loss: Loss) -> tuple[bool, float, int, str, int]:
    weight = _WEIGHT.index(loss.path) if loss.path in _WEIGHT else len(_WEIGHT)
    return loss.met is None, -(loss.dearest.ratio if loss.dearest else 0.0), weight, loss.path, loss.column


def shared_losses(losses: Sequence[Loss]) -> list[tuple[Loss, list[int]]]:
    """The losses with the columns that share them: one entry for the same path, missing for the same reason at the same price."""
    shared: dict[tuple[object, ...], tuple[Loss, list[int]]] = {}
    for loss in losses:
        shared.setdefault((loss.path, loss.met, loss.missing, loss.prices), (loss, []))[1].append(loss.column)
    return list(shared.values())
