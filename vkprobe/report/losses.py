"""Gaps in words: the requirement cells of the matrix and the "what is missing" of each device."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vkprobe.report.model import Cell, Column, Loss, Price, Section
from vkprobe.report.rows import CEILINGS
from vkprobe.requirements import Gap, Missing, Requirement, requirements
from vkprobe.requirements.promotions import PROVIDERS, base_name


def gap_cell(gap: Gap, need: Requirement) -> Cell:
    """`yes`, `partial n of m`, `no: first missing`, or `unknown`, with everything that is missing as the reason."""
    if gap.met is True:
        return Cell(status="met", text="yes", gap=gap)
    reason = missing_in_words(gap)
    if gap.met is None:
        return Cell(status="unknown", text="unknown", reason=f"the facts do not tell: {reason}", gap=gap)
    if gap.part is not None and gap.part[0]:
        held, total = gap.part
        if held < total:
            return Cell(status="partial", text=f"partial {held} of {total}", reason=reason, gap=gap)
        return Cell(status="partial", text=f"partial {gap.held} of {gap.total}", reason=reason, gap=gap)
    first = next(m for m in gap.missing if m.have is not None)
    return Cell(status="unmet", text=f"no: {short_name(first)}", reason=reason, gap=gap)


def short_name(missing: Missing) -> str:
    """The member, without its struct and nesting; extensions and tuples as they are."""
    return missing.name if missing.kind in ("extension", "tuple") else " or ".join(n.rpartition(".")[2] for n in missing.name.split(" or "))


def in_words(missing: Missing) -> str:
    """One missing condition: what, what is needed and what there is."""
    name = short_name(missing)
    if missing.have is None:
        return f"{name} unknown"
    if missing.kind == "extension":
        return f"{name} not listed"
    if missing.kind == "feature":
        return f"{name} off"
    if missing.kind == "tuple":
        return f"no tuple {name}"
    if isinstance(missing.need, bool):
        return f"{name} is {'false' if missing.need else 'true'}"
    need = " and ".join(missing.need) if isinstance(missing.need, tuple) else missing.need
    return f"{name} is {missing.have}, needed {need}"


def missing_in_words(gap: Gap) -> str:
    """All that is missing; of an extension that is missing as a whole, not its parts."""
    lacking = {m.name for m in gap.missing if m.kind == "extension" and m.have is False}
    shown = [m for m in gap.missing if not comes_with(m, lacking)]
    words = [in_words(m) for m in shown]
    listed = dict.fromkeys(str(m.have) for m in shown if m.kind == "tuple" and m.have is not None)
    if listed:
        words[-1] += f" (the device lists {'; '.join(listed)})"
    return "; ".join(words)


def comes_with(missing: Missing, extensions: set[str]) -> bool:
    """Whether a missing condition needs no words of its own: it is part of an extension that is missing as a whole."""
    if missing.kind == "tuple":
        return isinstance(missing.have, str) and missing.have.removeprefix("no ") in extensions
    provider = PROVIDERS.get(base_name(missing.name.partition(".")[0]))
    return provider is not None and provider.extension in extensions


_WEIGHT = ("scalar-f16", "coopmat", "coopmat2", "intdot", "coopmat-bf16", "bf16", "dot2", "float8")
"""Paths whose loss weighs most come first, where no device at hand tells what they are worth. What is not here is no path of its own."""


def losses_of(required: Section, measured: Sequence[Section], columns: Sequence[Column]) -> tuple[Loss, ...]:
    """Every path that a device lacks, with who has it; the dearest first, then what is sure, then by device."""
    labels = {r.path: r.label for r in requirements()}
    prices: dict[str, Price | None] = {}
    losses = []
    for index, column in enumerate(required.columns):
        for row in required.rows:
            gap = row.cells[index].gap
            if gap is None or gap.met is True:
                continue
            owners = tuple(c for c, cell in zip(required.columns, row.cells, strict=True) if cell.gap is not None and cell.gap.met)
            if gap.path not in prices:
                prices[gap.path] = _price(gap.path, measured, columns)
            losses.append(
                Loss(
                    column=column,
                    path=gap.path,
                    label=labels[gap.path],
                    met=gap.met,
                    missing=missing_in_words(gap),
                    sources=tuple(dict.fromkeys(m.source for m in gap.missing)),
                    owners=owners,
                    price=prices[gap.path],
                )
            )
    return tuple(sorted(losses, key=_dearest))


def _dearest(loss: Loss) -> tuple[bool, float, int, str, int]:
    weight = _WEIGHT.index(loss.path) if loss.path in _WEIGHT else len(_WEIGHT)
    return loss.met is None, -(loss.price.ratio if loss.price else 0.0), weight, loss.path, loss.column


def _price(path: str, measured: Sequence[Section], columns: Sequence[Column]) -> Price | None:
    """What the path is worth on the device that gains most by it; devices that run on the CPU tell nothing about others."""
    found = []
    for section in measured:
        if section.title in CEILINGS:  # they are worth nothing by themselves
            continue
        for position, index in enumerate(section.columns):
            best: dict[tuple[str, bool], float] = {}
            for row in section.rows:
                cell = row.cells[position]
                if cell.value and cell.result and not columns[index].software:
                    key = row.labels[0], cell.result.path == path
                    best[key] = max(best.get(key, 0.0), cell.value)
            ratios = [best[workload, True] / rate for (workload, is_path), rate in best.items() if not is_path and (workload, True) in best]
            if ratios:
                ratio = math.exp(sum(map(math.log, ratios)) / len(ratios))
                found.append(Price(op=section.title, column=index, ratio=ratio, workloads=len(ratios)))
    return max(found, key=lambda price: price.ratio, default=None)


def shared_losses(losses: Sequence[Loss]) -> list[tuple[Loss, list[int]]]:
    """The losses with the columns that have them in common: the same path for the same reason is told once."""
    shared: dict[tuple[str, bool | None, str], tuple[Loss, list[int]]] = {}
    for loss in losses:
        shared.setdefault((loss.path, loss.met, loss.missing), (loss, []))[1].append(loss.column)
    return list(shared.values())
