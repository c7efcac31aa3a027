"""The ladder in the matrix: how high tuples and features get, devices side by side. Pure; computed from records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from vkprobe.records import LadderRecord
from vkprobe.report.ladder import name_of
from vkprobe.report.model import BAD, Cell, Column, Row, Section
from vkprobe.results.store import DeviceKey, Store

_NOTE = "the highest rung of advertised, queried, compiles, runs, correct, faster; 0.50x: half the time of plain arithmetic"
_NOT_CLIMBED = "not climbed: the files hold no ladder record of it for this device"
_SUBGROUP = re.compile(r"subgroup\w+ at \d+")
_CORRECT = ("correct", "faster")
_Climbs = dict[DeviceKey, list[LadderRecord]]


def sections(store: Store, columns: Sequence[Column]) -> list[Section]:
    """Tuples: a row that counts, then one for each that is wrong, lost or no faster than plain arithmetic. Features: a row each."""
    climbed = {key for key, _ in store.ladder}
    shown = tuple(i for i, c in enumerate(columns) if c.key in climbed)
    tuples: dict[str, _Climbs] = {}
    single: dict[str, _Climbs] = {}
    features: dict[str, _Climbs] = {}
    order = {c.key: i for i, c in enumerate(columns)}
    for (key, _), r in sorted(store.ladder.items(), key=lambda item: order[item[0][0]]):
        if r.feature is not None:
            features.setdefault(_family(r.feature), {}).setdefault(key, []).append(r)
            continue
        kind = "all, flexible dimensions" if "m" not in r.tuple else "all, fixed shapes"
        tuples.setdefault(kind, {}).setdefault(key, []).append(r)
        single.setdefault(name_of(r), {}).setdefault(key, []).append(r)
    told = {name: by_device for name, by_device in single.items() if any(_worth_telling(r) for (r, *_) in by_device.values())}
    members = Counter(name.partition(".")[2] for name in features)

    def rows(named: dict[str, _Climbs]) -> tuple[Row, ...]:
        return tuple(
            Row(
                labels=(_label(name, members),),
                cells=tuple(_cell(by_device.get(columns[i].key, []), columns[i], name in tuples) for i in shown),
            )
            for name, by_device in named.items()
        )

    made = (("Ladder of tuples", "tuple", rows({**tuples, **told})), ("Ladder of features", "feature", rows(features)))
    return [
        Section(kind="ladder", title=title, note=_NOTE, labels=(label,), columns=shown, rows=found) for title, label, found in made if found
    ]


def _family(feature: str) -> str:
    """What forms of a feature share a row: all subgroup operations do, and a feature's types, but not what goes further."""
    if _SUBGROUP.fullmatch(feature):
        return "subgroup operations"
    name, _, form = feature.partition(" ")
    return feature if form.startswith("beyond") else name


def _label(name: str, members: Counter[str]) -> str:
    """A feature without its struct, but for the vendor where two structs have the member."""
    struct, dot, member = name.partition(".")
    if not dot:
        return name
    vendor = re.search(r"[A-Z]{2,}$", struct)
    return f"{member} ({vendor[0]})" if vendor and members[member] > 1 else member


def _worth_telling(r: LadderRecord) -> bool:
    return r.status in BAD or r.status in ("unsupported", "skipped") or (r.status == "ok" and r.rung == "correct" and r.ratio is not None)


def _cell(climbs: Sequence[LadderRecord], column: Column, counts: bool) -> Cell:
    if not climbs:
        return Cell(status="absent", text="-", reason=_NOT_CLIMBED)
    status = _status(climbs, column)
    extra = _ratios(climbs)
    text = _alone(climbs[0], status) if len(climbs) == 1 else _counted(climbs, status)
    return Cell(status=status, text=f"{text}  {extra}" if extra else text, reason=None if counts else _reason(climbs), climbs=tuple(climbs))


def _status(climbs: Sequence[LadderRecord], column: Column) -> str:
    """The worst that befell one of them; of others, what befell all."""
    found = [r.status for r in climbs]
    if "noop" in found and column.device is not None and not column.null:
        return "executed nothing"
    bad = [status for status in found if status in BAD]
    return bad[0] if bad else "ok" if "ok" in found else found[0]


def _alone(r: LadderRecord, status: str) -> str:
    rung = r.rung or "not listed"
    return f"{rung}, {status.upper()}" if status in BAD else rung


def _counted(climbs: Sequence[LadderRecord], status: str) -> str:
    rungs = list(dict.fromkeys(r.rung or "not listed" for r in climbs))
    bad = Counter(
        status.upper() if r.status == "noop" else r.status.upper() for r in climbs if status in BAD and r.status in {*BAD, "noop"}
    )
    if len(rungs) == 1 and not bad and rungs[0] not in _CORRECT:
        return f"{len(climbs)} {rungs[0].removesuffix('s')}"  # 18 compile
    correct, faster = (sum(r.rung in wanted for r in climbs) for wanted in (_CORRECT, ("faster",)))
    timed = any(r.ratio is not None for r in climbs)
    words = [f"{correct} of {len(climbs)} correct", *([f"{faster} faster"] if timed else []), *(f"{n} {word}" for word, n in bad.items())]
    return ", ".join(words)


def _ratios(climbs: Sequence[LadderRecord]) -> str:
    ratios = sorted(r.ratio for r in climbs if r.ratio is not None)
    if not ratios:
        return ""
    least, most = f"{ratios[0]:.2f}x", f"{ratios[-1]:.2f}x"
    return least if least == most else f"{least} to {most}"


def _reason(climbs: Sequence[LadderRecord]) -> str | None:
    """Why one is no higher than it is, where that is more than its time; those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for r in climbs:
        if r.reason and r.status not in ("ok", "noop"):
            reason = "feature is off" if r.feature and r.reason == f"{r.feature.partition(' ')[0]} is off" else r.reason
            reasons.setdefault(reason, []).append(_form(r))
    if len(climbs) == 1:
        return next(iter(reasons), None)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items()) or None


def _form(r: LadderRecord) -> str:
    if r.feature is None:
        return name_of(r)
    return r.feature if _SUBGROUP.fullmatch(r.feature) else r.feature.partition(" ")[2] or r.feature.rpartition(".")[2]


def lines(climbs: Iterable[LadderRecord]) -> list[str]:
    """Each climb in a line, with what was found on the way."""
    told = []
    for r in climbs:
        facts = [f"{name.replace('_', ' ')} {value}" for name, value in r.facts.items() if value is not None]
        ratio = [] if r.ratio is None else [f"{r.ratio:.2f}x"]
        ended = r.rung or "not listed", *([] if r.status == "ok" else [r.status]), *ratio, *facts
        told.append(f"{_form(r)}: {', '.join(ended)}")
    return told


def alarms(made: Iterable[Section], columns: Sequence[Column]) -> list[str]:
    """What must not be overlooked on the ladder: `1 wrong on the ladder (nvidia/0)`."""
    seen: dict[int, tuple[str, str]] = {}
    for section in made:
        for row in section.rows:
            for i, cell in zip(section.columns, row.cells, strict=True):
                for r in cell.climbs:
                    if r.status in BAD or (r.status == "noop" and cell.status == "executed nothing"):
                        seen[id(r)] = (r.status if r.status in BAD else cell.status, columns[i].id)
    where: dict[str, Counter[str]] = {}
    for status, device in seen.values():
        where.setdefault(status, Counter())[device] += 1
    return [f"{count.total()} {status} on the ladder ({', '.join(sorted(count))})" for status, count in sorted(where.items())]
