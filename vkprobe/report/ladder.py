"""The ladder's table: each tuple or feature, the rung it reached, what stopped it and the facts that the climb found."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from vkprobe.records import RUNGS, LadderRecord
from vkprobe.report.tables import render
from vkprobe.results import lift

_HEADERS = ("device", "tuple or feature", "rung", "status", "x plain time", "facts", "why no higher")
_SHORT = ("device", "tuple or feature", "reached", "notes")
_QUIET = frozenset({"ok", "noop", "unsupported"})
"""Statuses that the rung and the notes imply, so that they need no word of their own."""
_WIDEST_NAME = 38
_MORE = "... "
SUBGROUPS = "subgroup operations"
"""The row that all operations on subgroups share."""


def as_text(records: Sequence[LadderRecord], form: str, *, width: int | None = None) -> str:
    """The ladder in one of the table formats, and a closing line that counts.

    Tables for people have one row for all forms of a feature that ended alike; csv and json have one for each record.
    """
    if form in ("csv", "json"):
        return render(_HEADERS, [_row(r) for r in records], form)
    records = [lift.climb(r) for r in records]
    rows = [row for _, of_device in groupby(records, key=lambda r: r.device) for row in _short_rows(list(of_device))]
    headers: Sequence[str] = _SHORT
    if form == "table" and len({r.device for r in records}) == 1:
        headers, rows = headers[1:], [row[1:] for row in rows]
    text = render(headers, rows, form, width=width, fold=len(headers) - 1)
    counts = {rung: sum(r.rung == rung and r.status == "ok" for r in records) for rung in RUNGS}
    reached = [f"{n} {rung}" for rung, n in counts.items() if n]
    ended = [f"{sum(r.status == s for r in records)} {s}" for s in dict.fromkeys(r.status for r in records) if s != "ok"]
    noops = dict.fromkeys(r.reason for r in records if r.status == "noop" and r.reason)
    return f"{text}\n\n{'; '.join([', '.join([*reached, *ended]), *noops])}"


def name_of(record: LadderRecord) -> str:
    """The tuple or feature in words."""
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
    """One device's rows: forms of a feature that ended alike share a row; further rows of the feature leave its name out."""
    ambiguous = ambiguous_members(records)
    before = ""
    for _, group in groupby(records, key=_alike):
        alike = list(group)
        first = alike[0]
        title = _title(first, ambiguous) if first.feature else name_of(first)
        forms = ", ".join(r.form or "" for r in alike)
        name = title
        if len(alike) > 1 and not is_subgroup(first):
            name = f"{_MORE}{len(alike)} forms" if name == before else f"{name}, {len(alike)} forms"
        elif len(alike) == 1 and first.form:
            forms = ""
            name = name_of(first) if is_subgroup(first) else f"{_MORE}{first.form}" if name == before else f"{name} {first.form}"
        if not name.startswith(_MORE):
            before = title
        reached = ", ".join([first.rung or "not listed", *([] if first.status in _QUIET else [_status(first)])])
        yield [first.device, _broken(name), reached, _notes(alike, forms)]


def is_subgroup(record: LadderRecord) -> bool:
    """Whether it is about an operation on subgroups."""
    return record.subgroup_size is not None


def _title(record: LadderRecord, ambiguous: frozenset[str]) -> str:
    """The name that forms of a feature share."""
    return f"{SUBGROUPS} at {record.subgroup_size}" if is_subgroup(record) else feature_name(record, ambiguous)


def _alike(record: LadderRecord) -> Any:
    if not record.form or record.alone:
        return record.feature or name_of(record)
    family = record.subgroup_size or (record.struct, record.member)
    return family, record.rung, record.status, sorted(record.facts.items()), None if record.ratio else record.reason


def ambiguous_members(records: Sequence[LadderRecord]) -> frozenset[str]:
    """Members that two structs have."""
    members = [member for _, member in {(r.struct, r.member) for r in records if r.struct and r.member}]
    return frozenset(m for m in members if m is not None and members.count(m) > 1)


def feature_name(record: LadderRecord, ambiguous: frozenset[str]) -> str:
    """A feature without its struct, but with the vendor where another struct has the same member."""
    member, struct = record.member or record.feature or "", record.struct or ""
    vendor = struct[len(struct.rstrip(string.ascii_uppercase)) :]
    return f"{member} ({vendor})" if vendor and member in ambiguous else member


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
    if first.off:
        reason = ["the feature is off"]
    facts = _facts(first.facts)
    return "; ".join([*ratio, *([facts] if facts else []), *([forms] if forms else []), *reason])
