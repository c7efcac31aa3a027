"""The ladder's table: a row per tuple or feature, the rung it reached, what stopped it, and what was found on the way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from vkprobe.records import RUNGS, LadderRecord
from vkprobe.report.tables import render

_HEADERS = ("device", "tuple or feature", "rung", "status", "x plain time", "facts", "why no higher")


def as_text(records: Sequence[LadderRecord], form: str, *, width: int | None = None) -> str:
    """The ladder in one of the table formats, and a closing line that counts."""
    several = len({r.device for r in records}) > 1
    rows = [_row(r) for r in records]
    headers: Sequence[str] = _HEADERS
    if form == "table" and not several:
        headers, rows = headers[1:], [row[1:] for row in rows]
    text = render(headers, rows, form, width=width, fold=len(headers) - 1)
    if form in ("csv", "json"):
        return text
    counts = {rung: sum(r.rung == rung and r.status == "ok" for r in records) for rung in RUNGS}
    told = [f"{n} {rung}" for rung, n in counts.items() if n]
    ended = [f"{sum(r.status == s for r in records)} {s}" for s in dict.fromkeys(r.status for r in records) if s != "ok"]
    return f"{text}\n\n{', '.join([*told, *ended])}"


def name_of(record: LadderRecord) -> str:
    """What was climbed with, in words."""
    t = record.tuple
    if not t:
        return _without_struct(record.feature or "")
    flexible = "m" not in t
    shape = "x".join(str(t[axis + "_granularity" * flexible]) for axis in "mnk")
    scope = t["scope"] + (f" of {t['workgroup_invocations']}" if t.get("workgroup_invocations") else "")
    return f"{'n x ' * flexible}{shape} {t['a']},{t['b']}->{t['result']}{' sat' if t['saturating'] else ''} {scope}"


def _without_struct(feature: str) -> str:
    """A feature's name as tables have room for: without its struct, but for the vendor that tells two structs apart.

    >>> _without_struct("VkPhysicalDeviceCooperativeMatrix2FeaturesNV.cooperativeMatrixReductions")
    'cooperativeMatrixReductions (NV)'
    """
    struct, dot, member = feature.partition(".")
    vendor = re.search(r"(KHR|EXT|[A-Z]{2,})$", struct)
    return f"{member} ({vendor[0]})" if dot and vendor else member or feature


def _row(record: LadderRecord) -> list[str]:
    status = record.status if record.status in ("ok", "noop", "skipped", "unsupported") else record.status.upper()
    ratio = "" if record.ratio is None else f"{record.ratio:.2f}"
    return [record.device, name_of(record), record.rung or "", status, ratio, _facts(record.facts), record.reason or ""]


def _facts(facts: dict[str, Any]) -> str:
    return ", ".join(_fact(name, value) for name, value in facts.items() if value is not None)


def _fact(name: str, value: Any) -> str:
    if name == "accumulator_bits":
        return f"{value} bits"
    if isinstance(value, bool):
        return name if value else f"not {name}"
    return f"{name.replace('_', ' ')} {value}"
