"""The ladder's table: what was climbed with, the rung it reached, what stopped it and what was found on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from vkprobe.records import RUNGS, LadderRecord
from vkprobe.report.tables import render

_HEADERS = ("device", "tuple or feature", "rung", "status", "x plain time", "facts", "why no higher")
_SHORT = ("device", "tuple or feature", "reached", "notes")
_QUIET = frozenset({"ok", "noop", "unsupported"})
"""Statuses that the rung and the notes tell without a word of their own."""
_WIDEST_NAME = 38
_MORE = "... "


def as_text(records: Sequence[LadderRecord], form: str, *, width: int | None = None) -> str:
    """The ladder in one of the table formats, and a closing line that counts.

    Tables for people have one row for all forms of a feature that ended alike; csv and json have one for each record.
    """
    if form in ("csv", "json"):
        return render(_HEADERS, [_row(r) for r in records], form)
    rows = [row for _, of_device in groupby(records, key=lambda r: r.device) for row in _short_rows(list(of_device))]
    headers: Sequence[str] = _SHORT
    if form == "table" and len({r.device for r in records}) == 1:
        headers, rows = headers[1:], [row[1:] for row in rows]
    text = render(headers, rows, form, width=width, fold=len(headers) - 1)
    counts = {rung: sum(r.rung == rung and r.status == "ok" for r in records) for rung in RUNGS}
    told = [f"{n} {rung}" for rung, n in counts.items() if n]
    ended = [f"{sum(r.status == s for r in records)} {s}" for s in dict.fromkeys(r.status for r in records) if s != "ok"]
    noops = dict.fromkeys(r.reason for r in records if r.status == "noop" and r.reason)
    return f"{text}\n\n{'; '.join([', '.join([*told, *ended]), *noops])}"


def name_of(record: LadderRecord) -> str:
    """What was climbed with, in words."""
    t = record.tuple
    if not t:
        return record.feature or ""
    flexible = "m" not in t
    shape = "x".join(str(t[axis + "_granularity" * flexible]) for axis in "mnk")
    scope = t["scope"] + (f" of {t['workgroup_invocations']}" if t.get("workgroup_invocations") else "")
    return f"{'n x ' * flexible}{shape} {t['a']},{t['b']}->{t['result']}{' sat' if t['saturating'] else ''} {scope}"


def _row(record: LadderRecord) -> list[str]:
    ratio = "" if record.ratio is None else f"{record.ratio:.2f}"
    return [record.device, name_of(record), record.rung or "", _status(record), ratio, _facts(record.facts), record.reason or ""]


def _status(record: LadderRecord) -> str:
    return record.status if record.status in (*_QUIET, "skipped") else record.status.upper()


def _facts(facts: dict[str, Any]) -> str:
    return ", ".join(_fact(name, value) for name, value in facts.items() if value is not None)


def _fact(name: str, value: Any) -> str:
    if name == "accumulator_bits":
        return f"{value} bits"
    if isinstance(value, bool):
        return name if value else f"not {name}"
    return f"{name.replace('_', ' ')} {value}"


def _short_rows(records: Sequence[LadderRecord]) -> Iterator[list[str]]:
    """One device's rows: forms of a feature that ended alike share one, further rows of the same feature leave its name out."""
    ambiguous = _ambiguous(records)
    before = ""
    for _, group in groupby(records, key=_alike):
        alike = list(group)
        feature, _, form = _parts(alike[0])
        name = _named(feature, ambiguous) if alike[0].feature else name_of(alike[0])
        forms = ", ".join(_parts(r)[2] for r in alike)
        if len(alike) > 1:
            forms_of = f"{_MORE}{len(alike)} forms" if name == before else f"{name}, {len(alike)} forms"
            name = forms_of if feature.startswith("Vk") else name
        elif form:
            forms = ""
            name = f"{_MORE}{form}" if name == before else f"{name} {form}" if feature.startswith("Vk") else name_of(alike[0])
        if not name.startswith(_MORE):
            before = _named(feature, ambiguous)
        reached = ", ".join([alike[0].rung or "not listed", *([] if alike[0].status in _QUIET else [_status(alike[0])])])
        yield [alike[0].device, _broken(name), reached, _notes(alike, forms)]


def _parts(record: LadderRecord) -> tuple[str, str, str]:
    """A feature, what forms of it are grouped by, and the form; of a tuple nothing."""
    feature = record.feature or ""
    if subgroup := re.fullmatch(r"subgroup(\w+) (at \d+)", feature):
        return f"subgroup operations {subgroup[2]}", subgroup[2], subgroup[1]
    name, _, form = feature.partition(" ")
    form = form.replace("AccumulatingSaturating", "saturating ")
    return name, "" if form.startswith("beyond") else name, form


def _alike(record: LadderRecord) -> Any:
    _, family, form = _parts(record)
    if not form or not family:
        return record.feature or name_of(record)
    return family, record.rung, record.status, sorted(record.facts.items()), None if record.ratio else record.reason


def _ambiguous(records: Sequence[LadderRecord]) -> frozenset[str]:
    """Members that two structs have."""
    known = {_parts(r)[0].partition(".")[::2] for r in records}
    members = [member for _, member in known if member]
    return frozenset(m for m in members if members.count(m) > 1)


def _named(feature: str, ambiguous: frozenset[str]) -> str:
    """A feature without its struct, but for the vendor where another struct has the same member."""
    struct, dot, member = feature.partition(".")
    if not dot:
        return feature
    vendor = re.search(r"[A-Z]{2,}$", struct)
    return f"{member} ({vendor[0]})" if vendor and member in ambiguous else member


def _broken(name: str) -> str:
    """A long name on two lines, broken before a capital."""
    if len(name) <= _WIDEST_NAME or "->" in name:
        return name
    at = max((m.start() for m in re.finditer(r"[A-Z ]", name) if 2 < m.start() <= _WIDEST_NAME), default=_WIDEST_NAME)
    return f"{name[:at]}\n  {name[at:].lstrip()}"


def _notes(alike: Sequence[LadderRecord], forms: str) -> str:
    first = alike[0]
    ratios = [r.ratio for r in alike if r.ratio is not None]
    least, most = (f"{bound:.2f}" for bound in (min(ratios), max(ratios))) if ratios else ("", "")
    ratio = [f"{least if least == most else f'{least} to {most}'} x plain time"] if ratios else []
    reason = [] if first.status == "noop" or (first.status == "ok" and ratios) or not first.reason else [first.reason]
    if first.feature and reason == [f"{_parts(first)[0]} is off"]:
        reason = ["the feature is off"]
    facts = _facts(first.facts)
    return "; ".join([*ratio, *([facts] if facts else []), *([forms] if forms else []), *reason])
