"""Files of expectations as deqp-runner's users know them: known failures, flakes, cells to skip."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from vkprobe.compare.model import VERDICTS, Compared, Comparison, Improvement
from vkprobe.compare.pairing import FileDevice
from vkprobe.errors import UsageError
from vkprobe.records import PipelineRecord, ResultRecord
from vkprobe.results.names import cell_name, full_name

_UNDECIDED = frozenset({"unclear", "unjudged"})
"""Verdicts that say neither that a failure is still there nor that it is gone."""

_NO_NUMBER = frozenset({"wrong", "crash", "missing"})


class KnownFailure(Struct, frozen=True):
    """A line `CELL,VERDICT`, or `DEVICE,missing` of a device as a whole; `where` is its file and number."""

    where: str
    name: str
    verdict: str


class Expectations(Struct, frozen=True, kw_only=True):
    """The three files' lines; names are those of `cell_name`, with or without `DEVICE:` before them."""

    fails: tuple[KnownFailure, ...] = ()
    flakes: tuple[re.Pattern[str], ...] = ()
    skips: tuple[re.Pattern[str], ...] = ()


def read(
    fails: str | os.PathLike[str] | None = None,
    flakes: str | os.PathLike[str] | None = None,
    skips: str | os.PathLike[str] | None = None,
) -> Expectations:
    """The files' lines; empty lines and what follows a `#` at the start of a line or behind a space are comments.

    Raises:
        UsageError: a file can't be read, or a line is none; names the file and the line.
    """
    return Expectations(
        fails=tuple(_known_failure(where, line) for where, line in _lines(fails)),
        flakes=tuple(_pattern(where, line) for where, line in _lines(flakes)),
        skips=tuple(_pattern(where, line) for where, line in _lines(skips)),
    )


def _lines(path: str | os.PathLike[str] | None) -> Iterator[tuple[str, str]]:
    if path is None:
        return
    name = os.fspath(path)
    try:
        with open(name, encoding="utf-8-sig") as file:
            text = file.read()
    except OSError as error:
        raise UsageError(f"{name}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name}: is no UTF-8 text") from None
    for number, line in enumerate(text.splitlines(), 1):
        content = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        if content:
            yield f"{name}:{number}", content


def _known_failure(where: str, line: str) -> KnownFailure:
    name, comma, verdict = (part.strip() for part in line.rpartition(","))
    if not comma or not name:
        raise UsageError(
            f"{where}: expected CELL,VERDICT, as in gemm/q4_0/coopmat/f16/16x16x16/4096x512x14336/cold,slower; it has {line!r}"
        )
    if verdict not in VERDICTS or verdict == "same":
        raise UsageError(f"{where}: no verdict is called {verdict!r}; there is {', '.join(v for v in VERDICTS if v != 'same')}")
    return KnownFailure(where, name, verdict)


def _pattern(where: str, line: str) -> re.Pattern[str]:
    try:
        return re.compile(line)
    except re.error as error:
        place = "" if error.pos is None else f" from character {error.pos + 1} on"
        raise UsageError(f"{where}: {line!r} is not a regular expression{place}") from None


def _matches(patterns: Sequence[re.Pattern[str]], device: str, record: PipelineRecord | ResultRecord) -> bool:
    names = (cell_name(record), full_name(device, record))
    return any(pattern.search(name) for pattern in patterns for name in names)


def without(devices: Sequence[FileDevice], expectations: Expectations) -> tuple[list[FileDevice], set[str]]:
    """The devices without what is to be skipped, and the full names of what was left out."""
    kept, left_out = [], set()
    for one in devices:
        if not expectations.skips:
            kept.append(one)
            continue
        skipped = {key for key, r in one.results.items() if _matches(expectations.skips, one.device, r)}
        uncompiled = {key for key, p in one.pipelines.items() if _matches(expectations.skips, one.device, p)}
        left_out |= {full_name(one.device, one.results[key]) for key in skipped}
        left_out |= {full_name(one.device, one.pipelines[key]) for key in uncompiled}
        kept.append(
            replace(
                one,
                results={key: r for key, r in one.results.items() if key not in skipped},
                measured={key: r for key, r in one.measured.items() if key not in skipped},
                pipelines={key: p for key, p in one.pipelines.items() if key not in uncompiled},
            )
        )
    return kept, left_out


def names_in(devices: Sequence[FileDevice]) -> set[str]:
    """Every name that a line may have: of cells and pipelines, with and without their device, and `DEVICE,missing`."""
    records: list[tuple[str, PipelineRecord | ResultRecord]] = []
    for one in devices:
        records += [(one.device, r) for r in one.results.values()]
        records += [(one.device, p) for p in one.pipelines.values()]
    named = {name for device, record in records for name in (cell_name(record), full_name(device, record))}
    return named | {f"{one.device},missing" for one in devices}


def applied(comparison: Comparison, expectations: Expectations, names: Collection[str]) -> Comparison:
    """The comparison with what was expected of its cells; `names` are those that the files have, as `names_in`."""
    listed: dict[str, list[KnownFailure]] = {}
    for line in expectations.fails:
        listed.setdefault(line.name, []).append(line)
    cells, improved = [], []
    for cell in comparison.cells:
        lines = [line for name in (cell.name, full_name(cell.device, cell.record)) for line in listed.get(name, ())]
        if expectations.flakes and cell.verdict != "same" and _matches(expectations.flakes, cell.device, cell.record):
            cell = replace(cell, expected="flaky")
        elif any(line.verdict == cell.verdict for line in lines):
            cell = replace(cell, expected="known")
        elif lines:
            improved += _improvements(cell, lines)
        cells.append(cell)
    missing = tuple(
        replace(one, in_fails=any(line.verdict == "missing" for line in listed.get(one.device, ()))) for one in comparison.missing
    )
    there = {pair.old: pair.new for pair in comparison.devices} | {one.device: one.device for one in comparison.appeared}
    for old, new in there.items():
        back = [line for line in listed.get(old, ()) if line.verdict == "missing"]
        improved += [Improvement(where=b.where, device=new, name=b.name, listed=b.verdict, verdict="same") for b in back]
    unlisted = tuple(
        f"{line.where}: neither file has {line.name}"
        for line in expectations.fails
        if line.name not in names and f"{line.name},{line.verdict}" not in names
    )
    return replace(comparison, cells=tuple(cells), missing=missing, improved=tuple(improved), unlisted=unlisted)


def _improvements(cell: Compared, lines: Sequence[KnownFailure]) -> list[Improvement]:
    """The lines that no longer hold because the cell has a better verdict now."""
    order = list(VERDICTS)
    return [
        Improvement(where=line.where, device=cell.device, name=line.name, listed=line.verdict, verdict=cell.verdict)
        for line in lines
        if order.index(cell.verdict) > order.index(line.verdict)
        and cell.verdict not in _NO_NUMBER
        and not (line.verdict in ("slower", "worse") and cell.verdict in _UNDECIDED)
    ]
