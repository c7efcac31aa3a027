"""The report of `gaps`: paths against devices, what each device lacks and what that costs, and the paths that llama.cpp would take."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from vkprobe.errors import UsageError
from vkprobe.llama.listing import caution
from vkprobe.llama.paths import Choice, choose
from vkprobe.llama.rows import MOST_COLUMNS
from vkprobe.ops.products import product_of
from vkprobe.records import ChoiceRecord, DeviceRecord, GapRecord, MissingCondition, PriceRecord, ResultRecord
from vkprobe.report import prices as pricing
from vkprobe.report.losses import baselines_of, gap_cell, missing_in_words
from vkprobe.report.matrix import build as build_matrix
from vkprobe.report.tables import Footnotes, folded, render
from vkprobe.requirements import Gap, Missing, Requirement, all_requirements, evaluate
from vkprobe.requirements.evaluate import check
from vkprobe.requirements.model import comes_with
from vkprobe.requirements.words import condition_in_words
from vkprobe.results.store import Store

_SHORT = {"met": "yes", "unmet": "no", "unknown": "unknown"}
_SOURCE = "llama.cpp@b10249 "
_HEADING_WIDTH, _TYPES_WIDTH, _NOTES_WIDTH = 16, 24, 10
_OWNERS = 3  # devices that have a path, by name


class Side(Struct, frozen=True, kw_only=True):
    """One device.

    Attributes:
        gaps: in the order of the report's requirements.
        prices: of each gap; empty where it is none or nothing was measured.
        choices: llama.cpp's.
    """

    device: DeviceRecord
    gaps: tuple[Gap, ...]
    prices: tuple[tuple[PriceRecord, ...], ...]
    choices: tuple[Choice, ...]
    notes: tuple[str, ...]


class Gaps(Struct, frozen=True, kw_only=True):
    """The whole report.

    Attributes:
        needs: the requirements, in the order of rows.
        dearest: path -> its rank where several without a price are missing.
        baseline: index of the device that others are held against.
        chosen: whether the requirements were asked for by name: then each is spelled out.
    """

    sides: tuple[Side, ...]
    needs: tuple[Requirement, ...]
    dearest: dict[str, int]
    baseline: int | None
    chosen: bool


def build(
    devices: Sequence[DeviceRecord], results: Iterable[ResultRecord] = (), *, paths: Sequence[str] = (), baseline: str | None = None
) -> Gaps:
    """The gaps of `devices`.

    Args:
        results: measurements of any of them, for what a gap costs.
        paths: only these requirements; all where there are none.
        baseline: a device that others are held against: its id, or part of its id, name or driver.

    Raises:
        UsageError: the baseline names no device, or several; or a path is unknown.
    """
    store = Store([*devices, *results])
    matrix = build_matrix(store, baseline=baseline)
    ids = [c.device.device if c.device else c.id for c in matrix.columns]
    ranks: dict[str, int] = {}
    for loss in matrix.losses:
        ranks.setdefault(loss.path, len(ranks))
    chosen = _chosen(paths)
    base = None if matrix.baseline is None else [d.device for d in devices].index(ids[matrix.baseline])
    measured = baselines_of(matrix.columns, store, matrix.baseline)
    paths_of = pricing.ChosenPaths(measured)
    sides = [_side(device, chosen, devices, measured, pricing.Paths(paths_of.today, paths_of.closed)) for device in devices]
    if base is not None:
        sides.insert(0, sides.pop(base))
        order = {need.path: not _won(sides, i) for i, need in enumerate(chosen)}
        positions = sorted(range(len(chosen)), key=lambda i: order[chosen[i].path])
        chosen = [chosen[i] for i in positions]
        sides = [
            msgspec.structs.replace(side, gaps=tuple(side.gaps[i] for i in positions), prices=tuple(side.prices[i] for i in positions))
            for side in sides
        ]
    dearest = {need.path: ranks.get(need.path, len(ranks) + i) for i, need in enumerate(chosen)}
    return Gaps(
        sides=tuple(sides),
        needs=tuple(chosen),
        dearest=dearest,
        baseline=None if base is None else 0,
        chosen=bool(paths),
    )


def _chosen(paths: Sequence[str]) -> list[Requirement]:
    every = all_requirements()
    unknown = [path for path in paths if path not in {need.path for need in every}]
    if unknown:
        raise UsageError(f"no path {', '.join(unknown)}; there are {', '.join(need.path for need in every)}")
    return [need for need in every if not paths or need.path in paths]


def _side(
    device: DeviceRecord,
    needs: Sequence[Requirement],
    devices: Sequence[DeviceRecord],
    measured: Sequence[pricing.Baseline],
    paths: pricing.Paths,
) -> Side:
    others = [other for other in devices if other is not device]
    chosen = choose(device, others=others)
    gaps = tuple(evaluate(device, need) for need in needs)
    return Side(
        device=device,
        gaps=gaps,
        prices=tuple(
            () if gap.met is True else tuple(pricing.prices(device, need, measured, paths)) for need, gap in zip(needs, gaps, strict=True)
        ),
        choices=tuple(chosen),
        notes=tuple(filter(None, [chosen[0].left_out or caution(device)])),
    )


def _won(sides: Sequence[Side], index: int) -> bool:
    """Whether the baseline, the first side, has what another lacks."""
    return sides[0].gaps[index].met is True and any(side.gaps[index].met is not True for side in sides[1:])


def gap_records(report: Gaps, run: str) -> Iterator[GapRecord]:
    """A record for every device and path, in the order of the report."""
    for side in report.sides:
        for gap, prices in zip(side.gaps, side.prices, strict=True):
            missing = [MissingCondition(kind=m.kind, name=m.name, need=m.need, have=m.have, source=m.source) for m in gap.missing]
            yield GapRecord(
                run=run,
                device=side.device.device,
                path=gap.path,
                met=gap.met,
                missing=missing,
                held=gap.held,
                total=gap.total,
                prices=list(prices),
            )


def choice_records(report: Gaps, run: str) -> Iterator[ChoiceRecord]:
    """A record for every device and workload, in the order of the report."""
    for side in report.sides:
        for taken in side.choices:
            w = taken.workload
            yield ChoiceRecord(
                run=run,
                device=side.device.device,
                op=product_of(w.n),
                type=w.type,
                m=w.m,
                n=w.n,
                k=w.k,
                path=taken.path,
                because=f"{taken.left_out}; there: {taken.because}" if taken.left_out else taken.because,
                tile=taken.tile,
                split_k=taken.split_k,
            )


def as_text(report: Gaps, form: str, *, width: int | None = None) -> str:
    """The report in one of the table formats; CSV holds the first table only (records hold everything)."""
    if form == "json":
        return _json(report)
    headers = ["path", *(_heading(side.device.device, form) for side in report.sides)]
    rows = [[need.path, *(_cell(side.gaps[i], need) for side in report.sides)] for i, need in enumerate(report.needs)]
    table = render(headers, rows, form, width=width)
    if form == "csv":
        return table
    parts = [table]
    if report.chosen:
        parts += [_conditions(report, need, form, width) for need in report.needs]
    seen: dict[tuple[str, ...], str] = {}
    parts += [text for index in range(len(report.sides)) if (text := _missing(report, index, seen, form, width))]
    parts += [] if report.chosen else [_choices(report, form, width)]
    return "\n\n".join(parts)


def _heading(device: str, form: str) -> str:
    """A device's id, folded behind its family where columns are narrow."""
    if form != "table":
        return device
    family, colon, rest = device.partition(":")
    return f"{family}{colon}\n" + "\n".join(textwrap.wrap(rest, _HEADING_WIDTH)) if colon else device


def _cell(gap: Gap, need: Requirement) -> str:
    cell = gap_cell(gap, need)
    return _SHORT.get(cell.status, cell.text)


def _conditions(report: Gaps, need: Requirement, form: str, width: int | None) -> str:
    """Every condition of one path, device beside device."""
    rows = []
    for condition in need.conditions:
        verdicts = [check(condition, side.device) for side in report.sides]
        missing = next((m for _, lacking in verdicts for m in lacking), None)
        if missing is not None:
            rows.append([_condition(missing), *(_verdict(met, lacking) for met, lacking in verdicts)])
    if not rows:
        return f"{need.path}: every condition is met on every device"
    met = len(need.conditions) - len(rows)
    headers = [f"{need.path} needs", *(_heading(side.device.device, form) for side in report.sides)]
    rest = f"\n\nand {met} condition{'s' * (met != 1)} that every device meets" if met else ""
    return folded(f"{need.path}: {need.description}", width) + "\n\n" + render(headers, rows, form, width=width) + rest


def _condition(missing: Missing) -> str:
    """The missing condition in a few words."""
    name = missing.short or missing.name
    if missing.kind == "tuple":
        return f"tuple {_tuple(missing)}"
    if missing.kind in ("extension", "feature") or missing.need is True:
        return name
    need = " and ".join(missing.need) if isinstance(missing.need, tuple) else missing.need
    return f"{name} {'>= ' if missing.kind == 'limit' and not isinstance(need, str) else ''}{need}"


def _tuple(missing: Missing) -> str:
    """A tuple's name, with the bounds of its granularities."""
    bounds = [str(missing.at_most[f"{axis}_granularity"]) for axis in "mnk" if f"{axis}_granularity" in missing.at_most]
    return missing.name + (f" (granularity <= {'x'.join(bounds)})" if bounds else "")


def _verdict(met: bool | None, lacking: Sequence[Missing]) -> str:
    if met is not False:
        return "unknown" if met is None else "yes"
    have = lacking[0].have
    return str(have) if lacking[0].kind == "limit" and isinstance(have, int) and not isinstance(have, bool) else "no"


def _missing(report: Gaps, index: int, seen: dict[tuple[str, ...], str], form: str, width: int | None) -> str:
    """Everything that one device lacks, path by path, the dearest first; empty where it lacks nothing.

    `seen`: the details of paths that stand above already, and for which device; the same details don't stand there twice.
    """
    side = report.sides[index]
    rows = zip(report.needs, side.gaps, side.prices, strict=True)
    lacking = [(need, gap, prices) for need, gap, prices in rows if gap.met is not True]
    if not lacking:
        return ""
    lacking.sort(key=lambda one: _dearest(report, *one))
    lacked = {gap.path: gap for _, gap, _ in lacking}
    name = " ".join(filter(None, [side.device.driver.name, side.device.driver.version]))
    verb = "lacks" if all(gap.met is False for _, gap, _ in lacking) else "lacks or may lack"
    bullet = "- " if form == "md" else "  "
    title = f"{side.device.device} ({side.device.name.strip()}; {name or 'driver unknown'}) {verb}"
    lines = [f"### {title}" if form == "md" else folded(title, width)]
    brief: list[str] = []
    for need, gap, prices in lacking:
        if need.group != "path" and not report.chosen:
            brief.append(f"{need.path} ({_in_brief(need, gap, lacked)})")
            continue
        lines.append(folded(f"{bullet}{_title(report, need, gap, prices)}", width, "    "))
        details = _details(report, need, gap, lacked)
        first = seen.setdefault((need.path, *details), side.device.device)
        if first != side.device.device and len(details) > 1:
            details = [f"the same as {first}"]
        lines += [folded(f"  {bullet}{detail}", width, "        ") for detail in details]
    if brief:
        lines.append(folded(f"{bullet}and of parts, tiles and extensions: {'; '.join(brief)}", width, "    "))
    lines += [folded(f"{bullet}{note}", width, "    ") for note in side.notes]
    return "\n".join(lines)


def _dearest(report: Gaps, need: Requirement, gap: Gap, prices: Sequence[PriceRecord]) -> tuple[bool, bool, float, int]:
    """Sort key of a gap: those that the baseline has not, unsure ones and cheap ones come later."""
    highest = max((price.ratio for price in prices), default=0.0)
    return not _baseline_has(report, need.path), gap.met is None, -highest, report.dearest[need.path]


def _baseline_has(report: Gaps, path: str) -> bool:
    if report.baseline is None:
        return False
    return any(gap.path == path and gap.met is True for gap in report.sides[report.baseline].gaps)


def _title(report: Gaps, need: Requirement, gap: Gap, prices: Sequence[PriceRecord]) -> str:
    """The path, how much of it is there, who has it, and what it is worth."""
    word = "unknown" if gap.met is None else "no"
    words = [f"{need.path}: {word}, {gap.held} of {gap.total} conditions are met"]
    owners = [side.device.device for side in report.sides if any(g.path == need.path and g.met is True for g in side.gaps)]
    if owners:
        shown = ", ".join(owners[:_OWNERS]) + (f" and {len(owners) - _OWNERS} more" if len(owners) > _OWNERS else "")
        words.append(f"{shown} {'have' if len(owners) > 1 else 'has'} it")
    if prices:
        words.append(pricing.in_words(prices))
    return "; ".join(words)


def _details(report: Gaps, need: Requirement, gap: Gap, lacked: dict[str, Gap]) -> list[str]:
    """Each missing condition with its source; conditions of an included path stand there."""
    included, own = _own(need, gap, lacked)
    lines = [f"all that {path} lacks" for path in included]
    absent = {m.name for m in own if m.kind == "extension" and m.have is False}
    with_it = [m for m in own if comes_with(m, absent)]
    single = [m for m in own if m not in with_it]
    lines += [f"{_spelled(m)} ({m.source.removeprefix(_SOURCE)})" for m in single if m.kind != "tuple"]
    lines += _tuples([m for m in single if m.kind == "tuple"])
    if with_it:
        what = ", ".join(_condition(m) for m in with_it)
        lines.append(f"and what comes with it: {what} ({with_it[-1].source.removeprefix(_SOURCE)})")
    return lines


def _own(need: Requirement, gap: Gap, lacked: dict[str, Gap]) -> tuple[list[str], list[Missing]]:
    """The included paths that are missing themselves, and what is missing besides."""
    included = [path for path in need.includes if path in lacked]
    elsewhere = {(m.kind, m.name) for path in included for m in lacked[path].missing}
    return included, [m for m in gap.missing if (m.kind, m.name) not in elsewhere]


def _in_brief(need: Requirement, gap: Gap, lacked: dict[str, Gap]) -> str:
    included, own = _own(need, gap, lacked)
    return "; ".join([*included, *([missing_in_words(msgspec.structs.replace(gap, missing=tuple(own)))] if own else [])])


def _spelled(missing: Missing) -> str:
    words = condition_in_words(missing)
    return f"{words}, needed {missing.need}" if missing.have is None and missing.need is not True else words


def _tuples(missing: Sequence[Missing]) -> list[str]:
    """Missing tuples, those for which the device lists the same instead in one line."""
    grouped: dict[tuple[str | None, str], list[str]] = {}
    for m in missing:
        grouped.setdefault((m.have, m.source), []).append(_tuple(m))
    lines = []
    for (have, source), names in grouped.items():
        what = "whether there is a tuple is unknown: " if have is None else "no tuple "
        listed = "" if have is None else f"; the device lists {have}"
        lines.append(f"{what}{', '.join(names)}{listed} ({source.removeprefix(_SOURCE)})")
    return lines


def _choices(report: Gaps, form: str, width: int | None) -> str:
    """The paths that llama.cpp would take, equal rows in one, with a footnote for every reason."""
    notes = Footnotes()
    grouped: dict[tuple[int, int, tuple[str, ...]], list[int]] = {}
    for position, taken in enumerate(report.sides[0].choices):
        paths = tuple(side.choices[position].path or "unknown" for side in report.sides)
        grouped.setdefault((taken.workload.n, taken.workload.k, paths), []).append(position)
    rows = []
    for (n, k, paths), positions in grouped.items():
        types = [report.sides[0].choices[i].workload.type for i in positions]
        reasons = [dict.fromkeys(notes.number(side.choices[i].because) for i in positions) for side in report.sides]
        rows.append([_workload(n, k, types, form), *(_took(*pair, form) for pair in zip(paths, reasons, strict=True))])
    headers = ["llama.cpp would take", *(_heading(side.device.device, form) for side in report.sides)]
    table = render(headers, rows, form, width=width)
    if form == "md":
        return table + "\n\n" + "\n".join(f"{number}. {reason}" for number, reason in notes)
    return table + "\n\n" + "\n".join(folded(f"[{number}] {reason}", width, "    ") for number, reason in notes)


def _workload(n: int, k: int, types: Sequence[str], form: str) -> str:
    stage = "tg" if n == 1 else "pp" if n > MOST_COLUMNS else "batch"
    head, names = f"{stage}, N={n} K={k}", " ".join(types)
    return f"{head}\n{folded('  ' + names, _TYPES_WIDTH)}" if form == "table" else f"{head}: {names}"


def _took(path: str, reasons: Iterable[int], form: str) -> str:
    numbers = folded(f"[{' '.join(map(str, reasons))}]", _NOTES_WIDTH, " ") if form == "table" else f"[{' '.join(map(str, reasons))}]"
    return f"{path}\n{numbers}" if form == "table" else f"{path} {numbers}"


def _json(report: Gaps) -> str:
    """The report as one JSON object; facts stay in the records."""
    report_data: dict[str, Any] = {
        "baseline": None if report.baseline is None else report.sides[report.baseline].device.device,
        "devices": [side.device.device for side in report.sides],
        "gaps": [msgspec.to_builtins(record) for record in gap_records(report, "")],
        "choices": [msgspec.to_builtins(record) for record in choice_records(report, "")],
    }
    for record in (*report_data["gaps"], *report_data["choices"]):
        for name in ("kind", "run", "at"):
            record.pop(name, None)
    return json.dumps(report_data, indent=1, ensure_ascii=False)
