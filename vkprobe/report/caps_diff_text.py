"""A difference of two devices as people and programs read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from vkprobe.records import DeviceRecord
from vkprobe.report.caps_cells import UNKNOWN, driver_version, text
from vkprobe.report.caps_diff import Change, Difference, Section
from vkprobe.report.tables import folded, render
from vkprobe.results.values import words

_SIGN = {"appeared": "+", "vanished": "-", "changed": "~"}
_ORDER: tuple[Section, ...] = ("tuple", "extension", "feature", "property", "queue", "heap")
_LISTED: dict[Section, str] = {"extension": "extensions", "feature": "features", "property": "properties"}
_NARROWEST = 20
_MOST_ITEMS = 8
_MOST_FLAGS = 3


def as_text(diff: Difference, form: str, *, everything: bool = False, width: int | None = None) -> str:
    """The output of `caps --diff` in one of the table formats.

    Args:
        diff: the difference.
        form: `table` and `md` are for people: what matters to LLM inference row by row, the rest listed by name; `csv` is one flat
            table, `json` one object with everything.
        everything: the rest row by row too.
        width: columns of the terminal; None where there is none.
    """
    if form == "json":
        return _as_json(diff)
    changes = [c for section in _ORDER for c in diff.changes if c.section == section]
    identity = [c for c in diff.changes if c.section == "identity"]
    if form == "csv":
        titles = ("section", "what", "name", "before", "after", "relevant")
        flat = [(c.section, c.what, c.name, *(_plain(v) for v in (c.before, c.after)), text(c.relevant)) for c in [*changes, *identity]]
        return render(titles, flat, "csv")
    first = [c for c in changes if c.relevant or c.section == "heap"]
    rest = [c for c in changes if c not in first]
    head = [f"from {diff.before.device}: {_about(diff.before)}", f"to   {diff.after.device}: {_about(diff.after)}"]
    head.append("+ appeared, - vanished, ~ changed" if changes else "No difference in what they offer.")
    parts = ["\n\n".join(head) if form == "md" else "\n".join(folded(line, width) for line in head)]
    if first:
        parts.append(_block("What matters to LLM inference", first, form, width))
    by_row = [c for c in rest if everything or (c.section == "property" and c.what == "changed")]
    if by_row:
        parts.append(_block("Other facts", by_row, form, width))
    listed = [c for c in rest if c not in by_row]
    if listed:
        parts.append("\n".join(_listed(listed, width, form)))
    if identity:
        parts.append(_block("Identity", identity, form, width))
    if diff.untold:
        parts.append(folded(f"{len(diff.untold)} facts of one can't be compared: the other's record doesn't have them.", width))
    return "\n\n".join(parts)


def _about(device: DeviceRecord) -> str:
    words = [device.name, driver_version(device), f"Vulkan {device.driver.api or UNKNOWN}"]
    return ", ".join(words) + (" (null device)" if device.null else "")


def _block(title: str, changes: Sequence[Change], form: str, width: int | None) -> str:
    short = [_label(c) for c in changes]
    labels = [
        label if short.count(label) == 1 else c.name.removeprefix("VkPhysicalDevice") for label, c in zip(short, changes, strict=True)
    ]
    if form == "table" and width is not None:
        labels = [folded(label, max(_NARROWEST, width // 2)) for label in labels]
    rows = [(_SIGN[c.what], label, _values(c)) for c, label in zip(changes, labels, strict=True)]
    return render(("", title, "value"), rows, form, width=width, pinned=2, fold=2 if form == "table" else None)


def _label(change: Change) -> str:
    """A member without its struct, whose name is long; in JSON and CSV it stands in full."""
    struct, _, member = change.name.partition(".")
    return member.removeprefix("limits.") if member and struct.startswith("VkPhysicalDevice") else change.name


def _values(change: Change) -> str:
    """The value that appeared or vanished, or `old -> new`; of long lists of flags, only what one has and the other lacks."""
    old, new = (_cell(change, value) for value in (change.before, change.after))
    if change.what != "changed":
        return old if change.what == "vanished" else new
    if change.section == "property" and old.isupper() and new.isupper():
        had, has = old.split(), new.split()
        lost, gained = ([name for name in one if name not in other] for one, other in ((had, has), (has, had)))
        if len(had) - len(lost) > _MOST_FLAGS:
            return ", ".join(f"{word} {' '.join(names)}" for word, names in (("without", lost), ("with", gained)) if names)
    return f"{old} -> {new}"


def _cell(change: Change, value: Any) -> str:
    if change.section == "feature" or value is None:
        return ""
    if change.section == "tuple" and isinstance(value, int):
        return "" if value == 1 else f"{value} times"
    if change.section == "extension":
        return f"revision {value}"
    if isinstance(value, list) and len(value) > _MOST_ITEMS:
        return f"{len(value)} values"
    struct, _, member = change.name.partition(".")
    return words(struct, member, value) or text(value) or "none"


def _listed(changes: Sequence[Change], width: int | None, form: str) -> list[str]:
    """Lines such as `3 other extensions appeared: VK_A, VK_B, VK_C`."""
    lines = []
    for section, word in _LISTED.items():
        for what in _SIGN:
            chosen = [c for c in changes if c.section == section and c.what == what]
            if chosen:
                names = ", ".join(_label(c) + (f" ({c.before} to {c.after})" if what == "changed" else "") for c in chosen)
                line = f"{len(chosen)} other {word if len(chosen) > 1 else _singular(word)} {what}: {names}"
                lines.append(folded(line, width) if form == "table" else f"- {line}")
    return lines


def _singular(word: str) -> str:
    """One of a plural.

    >>> _singular("properties"), _singular("features")
    ('property', 'feature')
    """
    return word.removesuffix("ies") + "y" if word.endswith("ies") else word.removesuffix("s")


def _plain(value: Any) -> Any:
    return text(value) if isinstance(value, (bool, list, dict)) else value


def _as_json(diff: Difference) -> str:
    def side(device: DeviceRecord) -> dict[str, Any]:
        driver = {"name": device.driver.name, "info": device.driver.info, "version": device.driver.version, "api": device.driver.api}
        return {"device": device.device, "name": device.name, "null": device.null, "driver": driver}

    changes: dict[str, list[dict[str, Any]]] = {section: [] for section in (*_ORDER, "identity")}
    for c in diff.changes:
        row = {"what": c.what, "name": c.name, "before": c.before, "after": c.after, "relevant": c.relevant}
        changes[c.section].append(row)
    whole = {"before": side(diff.before), "after": side(diff.after), "changes": changes, "untold": diff.untold}
    return json.dumps(whole, indent=1, ensure_ascii=False)
