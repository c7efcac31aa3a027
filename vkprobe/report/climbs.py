"""The ladder in the matrix: how high tuples and features get, devices side by side. Pure; computed from records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from vkprobe.records import LadderRecord
from vkprobe.report.ladder import SUBGROUPS, ambiguous_members, feature_name, is_subgroup, name_of
from vkprobe.report.model import BAD, Cell, Column, Row, Section
from vkprobe.results.keys import DeviceKey
from vkprobe.results.store import Store

_NOTE = "the highest rung of advertised, queried, compiles, runs, correct, faster; 0.50x: half the time of plain arithmetic"
_NOT_CLIMBED = "not climbed: the files hold no ladder record of it for this device"
_PLURAL = {"compiles": "compile", "runs": "run"}
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
            features.setdefault(_family(r), {}).setdefault(key, []).append(r)
            continue
        kind = "all, flexible dimensions" if "m" not in r.tuple else "all, fixed shapes"
        tuples.setdefault(kind, {}).setdefault(key, []).append(r)
        single.setdefault(name_of(r), {}).setdefault(key, []).append(r)
    shown_alone = {name: by_device for name, by_device in single.items() if any(_notable(r) for (r, *_) in by_device.values())}
    every = [r for by_device in features.values() for climbs in by_device.values() for r in climbs]
    ambiguous = ambiguous_members(every)
    of_features = {_label(next(iter(by_device.values()))[0], ambiguous): by_device for by_device in features.values()}

    def rows(named: dict[str, _Climbs]) -> tuple[Row, ...]:
        return tuple(
            Row(
                labels=(name,),
                cells=tuple(_cell(by_device.get(columns[i].key, []), columns[i], name in tuples) for i in shown),
            )
            for name, by_device in named.items()
        )

    tables = (("Ladder of tuples", "tuple", rows({**tuples, **shown_alone})), ("Ladder of features", "feature", rows(of_features)))
    return [
        Section(kind="ladder", title=title, note=_NOTE, labels=(label,), columns=shown, rows=lines)
        for title, label, lines in tables
        if lines
    ]


def _family(r: LadderRecord) -> str:
    """Key of the row that a climb belongs to: operations on subgroups share one, forms of a feature too unless they go further."""
    if is_subgroup(r):
        return SUBGROUPS
    return r.feature or "" if r.alone else f"{r.struct}.{r.member}"


def _label(r: LadderRecord, ambiguous: frozenset[str]) -> str:
    """A feature without its struct, but with the vendor where two structs have the member."""
    if is_subgroup(r):
        return SUBGROUPS
    name = feature_name(r, ambiguous)
    return f"{name} {r.form}" if r.alone else name


def _notable(r: LadderRecord) -> bool:
    return r.status in BAD or r.status in ("unsupported", "skipped") or (r.status == "ok" and r.rung == "correct" and r.ratio is not None)


def _cell(climbs: Sequence[LadderRecord], column: Column, counts: bool) -> Cell:
    if not climbs:
        return Cell(status="absent", main="-", reason=_NOT_CLIMBED)
    status = _status(climbs, column)
    ratios = _ratios(climbs)
    main = _alone(climbs[0], status) if len(climbs) == 1 else _counted(climbs, status)
    reason = None if counts else _reason(climbs)
    return Cell(status=status, main=main, extra=(ratios,) if ratios else (), reason=reason, climbs=tuple(climbs))


def _status(climbs: Sequence[LadderRecord], column: Column) -> str:
    """The worst status among them; where none is bad, the one that they share."""
    statuses = [r.status for r in climbs]
    if "noop" in statuses and column.device is not None and not column.null:
        return "executed nothing"
    bad = [status for status in statuses if status in BAD]
    return bad[0] if bad else "ok" if "ok" in statuses else statuses[0]


def _alone(r: LadderRecord, status: str) -> str:
    rung = r.rung or "not listed"
    return f"{rung}, {status.upper()}" if status in BAD else rung


def _counted(climbs: Sequence[LadderRecord], status: str) -> str:
    rungs = list(dict.fromkeys(r.rung or "not listed" for r in climbs))
    bad = Counter(
        status.upper() if r.status == "noop" else r.status.upper() for r in climbs if status in BAD and r.status in {*BAD, "noop"}
    )
    if len(rungs) == 1 and not bad and rungs[0] not in _CORRECT:
        return f"{len(climbs)} {_PLURAL.get(rungs[0], rungs[0])}"  # 18 compile
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
    """Reasons why climbs got no higher, other than their times; climbs with the same reason stand together."""
    reasons: dict[str, list[str]] = {}
    for r in climbs:
        if r.reason and r.status not in ("ok", "noop"):
            reason = "feature is off" if r.off else r.reason
            reasons.setdefault(reason, []).append(_form(r))
    if len(climbs) == 1:
        return next(iter(reasons), None)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items()) or None


def _form(r: LadderRecord) -> str:
    if r.feature is None:
        return name_of(r)
    return r.feature if is_subgroup(r) else r.form or r.member or r.feature


def lines(climbs: Iterable[LadderRecord]) -> list[str]:
    """Each climb in a line, with the facts that it found."""
    texts = []
    for r in climbs:
        facts = [f"{name.replace('_', ' ')} {value}" for name, value in r.facts.items() if value is not None]
        ratio = [] if r.ratio is None else [f"{r.ratio:.2f}x"]
        ended = r.rung or "not listed", *([] if r.status == "ok" else [r.status]), *ratio, *facts
        texts.append(f"{_form(r)}: {', '.join(ended)}")
    return texts


def alarms(sections: Iterable[Section], columns: Sequence[Column]) -> list[str]:
    """The alarms of the ladder: `1 wrong on the ladder (nvidia/0)`."""
    seen: dict[int, tuple[str, str]] = {}
    for section in sections:
        for row in section.rows:
            for i, cell in zip(section.columns, row.cells, strict=True):
                for r in cell.climbs:
                    if r.status in BAD or (r.status == "noop" and cell.status == "executed nothing"):
                        seen[id(r)] = (r.status if r.status in BAD else cell.status, columns[i].id)
    where: dict[str, Counter[str]] = {}
    for status, device in seen.values():
        where.setdefault(status, Counter())[device] += 1
    return [f"{count.total()} {status} on the ladder ({', '.join(sorted(count))})" for status, count in sorted(where.items())]
