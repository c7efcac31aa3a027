"""Verdicts on times as tables: the worst cells first, geometric means of groups, and why the rest has no row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vkprobe.compare.model import Change, Compared, Group
from vkprobe.report.tables import Footnotes, render
from vkprobe.units import seconds

TIMED = frozenset({"slower", "faster", "unclear", "unjudged"})
"""Verdicts on times; `same` and `unjudged` are verdicts on statistics as well."""
_HEADERS = ("verdict", "cell", "OLD", "NEW", "ratio (95 %)")
_CELL = 1
EXPECTED = {"known": "known: --fails lists it", "flaky": "a flake: --flakes lists it"}


def shown(cell: Compared) -> bool:
    """Whether a cell has a row: a verdict, or an interval that is too wide for one. The others' reasons are counted."""
    return cell.verdict in ("slower", "faster") or (
        cell.verdict == "unclear" and cell.judgement is not None and cell.judgement.has_interval
    )


def table(cells: Sequence[Compared], form: str, width: int | None, colours: dict[str, str], notes: Footnotes) -> str:
    """The cells that are shown, each with its times and, below its name, what changed in its pipeline."""
    rows = []
    for cell in filter(shown, cells):
        assert cell.judgement is not None
        assert cell.times is not None
        verdict: str = cell.verdict
        if cell.expected:
            verdict += f" [{notes.number(EXPECTED[cell.expected])}]"
        if cell.verdict in colours:
            verdict = f"{colours[cell.verdict]}{verdict}\x1b[0m"
        low, high = cell.judgement.ci95
        name = "\n".join(filter(None, (cell.name.replace("/", " "), *map(_change, cell.changes))))
        rows.append([verdict, name, *map(seconds, cell.times), f"{cell.judgement.ratio:.3f} [{low:.3f}, {high:.3f}]"])
    if not rows:
        return ""
    return render(_HEADERS, rows, form, width=width if form == "table" else None, pinned=len(_HEADERS), fold=_CELL)


def _change(change: Change) -> str:
    old, new = ("unknown" if value is None else str(value) for value in (change.old, change.new))
    return f"  {change.name.replace('_', ' ')} {old} -> {new}"


def means(groups: Iterable[Group], form: str, width: int | None) -> str:
    """Geometric means of the ratios, an op and path a row: all types, then each."""
    groups = list(groups)
    types = list(dict.fromkeys(g.type for g in groups if g.type is not None))
    by_type = {(g.op, g.path, g.type): g for g in groups}
    rows = []
    for op, path in dict.fromkeys((g.op, g.path) for g in groups):
        row_groups = [by_type.get((op, path, name)) for name in (None, *types)]
        rows.append(
            [op, path, str(row_groups[0].cells) if row_groups[0] else "", *("" if g is None else f"{g.ratio:.3f}" for g in row_groups)]
        )
    if not rows:
        return ""
    return "geometric means of the ratios\n\n" + render(
        ["op", "path", "cells", "all", *types], rows, form, width=width if form == "table" else None, pinned=2
    )


def reasons(cells: Iterable[Compared]) -> list[str]:
    """Why cells are unclear or not judged, each cause with how many cells."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell.verdict in ("unclear", "unjudged") and cell.because:
            grouped.setdefault((cell.verdict, cell.cause or cell.because), []).append(cell.because)
    words = {"unclear": "unclear", "unjudged": "not judged"}
    return [
        f"{len(texts)} {words[verdict]}: {texts[0]}{' (and the like)' if len(set(texts)) > 1 else ''}"
        for (verdict, _), texts in sorted(grouped.items(), key=lambda item: -len(item[1]))
    ]
