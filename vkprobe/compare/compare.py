"""OLD against NEW, cell by cell. Compile statistics are deterministic, so any difference counts; times are judged as one table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from vkprobe.builds import kernel_change
from vkprobe.compare import circumstances, expectations, times
from vkprobe.compare.expectations import Expectations
from vkprobe.compare.model import VERDICTS, Alone, Change, Compared, Comparison, DevicePair, Verdict
from vkprobe.compare.pairing import FileDevice, Pairing, devices_in, pair
from vkprobe.compiler_statistics import HASHES, names_of
from vkprobe.errors import UsageError
from vkprobe.records import LOST_STATUSES, PipelineRecord, ResultRecord, Status, Time
from vkprobe.results.store import Store

NORMAL = ("registers", "spills", "instructions", "code_bytes", "occupancy", "matrix_instructions")
_BETTER = {"registers": "lower", "spills": "lower", "instructions": "lower", "code_bytes": "lower", "occupancy": "higher"}
"""The direction in which a statistic improves."""
_CAUSES = ("registers", "spills", "instructions", "matrix_instructions")
_NOT_RUN = frozenset({"unsupported", "skipped", "noop"})


def compare(
    old: Store,
    new: Store,
    *,
    names: tuple[str, str] = ("OLD", "NEW"),
    threshold: float = 0.05,
    expected: Expectations | None = None,
) -> Comparison:
    """Everything of OLD against NEW.

    Args:
        old, new: records.
        names: of the files, for messages.
        threshold: how many more instructions, as a share, make a pipeline worse.
        expected: known failures, flakes, and cells to skip.

    Raises:
        UsageError: a file holds nothing to compare, or the two share no hardware.
    """
    expected = expected or Expectations()
    left, right = devices_in(old), devices_in(new)
    for name, devices in zip(names, (left, right), strict=True):
        if not devices:
            raise UsageError(f"{name}: holds no pipeline and no result records: `vkprobe compile`, gemm or run -o write such files")
    names_in_files = expectations.names_in([*left, *right])
    (left, left_out), (right, also) = expectations.without(left, expected), expectations.without(right, expected)
    pairing = pair(left, right)
    if not pairing.pairs:
        contents = "; ".join(f"{name} holds {_list(devices)}" for name, devices in zip(names, (left, right), strict=True))
        raise UsageError(
            f"nothing to compare: {contents}. Cells are paired by hardware (vendor, device id, chip); compare two drivers of one chip"
        )
    cells: list[Compared] = []
    drafts: list[times.Draft] = []
    for a, b in pairing.pairs:
        cells += _pipelines(a, b, threshold)
        for cell in _results(a, b):
            if isinstance(cell, times.Draft):
                drafts.append(cell)
            else:
                cells.append(cell)
    cells += times.finished(drafts)
    comparison = Comparison(
        devices=tuple(DevicePair(old=a.device, new=b.device, old_driver=a.driver, new_driver=b.driver) for a, b in pairing.pairs),
        cells=tuple(sorted(cells, key=_badness)),
        missing=tuple(Alone(h.device, h.count) for h in pairing.only_old if h.count),
        appeared=tuple(Alone(h.device, h.count) for h in pairing.only_new if h.count),
        notes=tuple(
            chain(
                *(_notes(*one) for one in zip(names, (left, right), strict=True)),
                _crossed(pairing, names),
                _differing(pairing.pairs, names, drafts),
            )
        ),
        groups=times.groups(cells),
        skipped=len(left_out | also),
    )
    return expectations.applied(comparison, expected, names_in_files)


def _notes(name: str, devices: Sequence[FileDevice]) -> Iterator[str]:
    """Notes on the records of one file."""
    for h in devices:
        if len(h.drivers) > 1:
            yield f"{name} holds {len(h.drivers)} drivers of {h.device} ({h.driver}): the newest record of each cell counts"
        several = sum(len(records) > 1 for records in h.measured.values())
        if several:
            yield f"{name} holds several runs of {several} cells of {h.device}: each run is a process of its own"
        if h.other:
            other = "by another driver, SPIR-V module, tile or with other bounds checks than the newest"
            yield f"{name} holds {h.other} results of {h.device} {other}: left out"


def _crossed(pairing: Pairing, names: tuple[str, str]) -> Iterator[str]:
    """The devices of identical hardware whose order differs between the files."""
    for a, b, identity in pairing.crossed:
        yield f"{a.device} of {names[0]} is {b.device} of {names[1]} by its {identity}: identical cards are paired by it, not by index"


def _differing(pairs: Sequence[tuple[FileDevice, FileDevice]], names: tuple[str, str], drafts: Sequence[times.Draft]) -> Iterator[str]:
    """Notes on differences between the files other than the driver."""
    yield from circumstances.notes([a for a, _ in pairs], [b for _, b in pairs], names)
    judged = [draft.cell for draft in drafts if draft.estimate is not None]
    for name, clocks in zip(names, _clocks(drafts), strict=True):
        if "wall" in clocks:
            yield f"{name} has times of the host's wall clock: each includes what submitting takes"
    measured = [side for cell in judged for side in (cell.old, cell.new) if isinstance(side, ResultRecord)]
    unnamed = sum(r.spirv_sha is None and r.compile_s is not None for r in measured)  # nothing is compiled for a transfer
    if unnamed:
        yield f"{unnamed} records don't name their SPIR-V module: both files are taken to have measured the same one"


def _clocks(drafts: Sequence[times.Draft]) -> tuple[set[str], set[str]]:
    """The clocks that timed the cells of OLD and of NEW."""
    old, new = ([getattr(draft.cell, side) for draft in drafts] for side in ("old", "new"))
    return _clocks_of(old), _clocks_of(new)


def _clocks_of(records: Sequence[Any]) -> set[str]:
    return {r.time.clock for r in records if isinstance(r, ResultRecord) and isinstance(r.time, Time)}


def _list(devices: list[FileDevice]) -> str:
    return ", ".join(f"{h.device} ({h.driver})" for h in devices[:4]) + (f" and {len(devices) - 4} more" if len(devices) > 4 else "")


def _pipelines(old: FileDevice, new: FileDevice, threshold: float) -> list[Compared]:
    left, right = dict(old.pipelines), dict(new.pipelines)
    couples: list[tuple[PipelineRecord, PipelineRecord]] = [(left.pop(key), right.pop(key)) for key in list(left) if key in right]
    # The subgroup size is the driver's own choice where none is required: another one is a difference, not another pipeline.
    couples += _couple(left, right, lambda p: (p.kernel, p.path, p.type, p.tile))
    cells = [_pipeline(new.device, a, b, threshold) for a, b in couples]
    # Where a device has no tuple at all, a kernel has no tile: its one record stands for every tile of the other file.
    stands = {_kernel(b): b for b in right.values() if _for_all_tiles(b)}
    old_kernels, new_kernels = ({_kernel(p) for p in side.pipelines.values()} for side in (old, new))
    cells += [
        _left_over(new.device, a, stands.get(_kernel(a))) for a in left.values() if not _for_all_tiles(a) or _kernel(a) not in new_kernels
    ]
    return cells + [
        Compared(device=new.device, verdict=_appeared(b.status), old=None, new=b)
        for b in right.values()
        if not _for_all_tiles(b) or _kernel(b) not in old_kernels
    ]


def _for_all_tiles(p: PipelineRecord) -> bool:
    return p.tile is None and p.status == "unsupported"


def _kernel(p: PipelineRecord) -> tuple[str, str, str]:
    return p.kernel, p.path, p.type


def _couple(left: dict[Any, PipelineRecord], right: dict[Any, PipelineRecord], key: Any) -> list[tuple[PipelineRecord, PipelineRecord]]:
    """Remove from both sides, and pair, the records that are the only ones with their `key` on either side."""
    couples = []
    for a in list(left.values()):
        mine = [k for k, p in left.items() if key(p) == key(a)]
        theirs = [k for k, p in right.items() if key(p) == key(a)]
        if len(mine) == len(theirs) == 1:
            couples.append((left.pop(mine[0]), right.pop(theirs[0])))
    return couples


def _left_over(device: str, old: PipelineRecord, unsupported: PipelineRecord | None) -> Compared:
    if unsupported is not None and unsupported.status == old.status:
        return Compared(device=device, verdict="same", old=old, new=unsupported)
    return Compared(device=device, verdict="missing", old=old, new=unsupported)


def _alone(old: ResultRecord | None, new: ResultRecord | None) -> Verdict:
    """The verdict of a cell that only one side has; nothing is lost where OLD could not run it either."""
    if new is not None:
        return _appeared(new.status)
    return "status" if old is not None and old.status in _NOT_RUN else "missing"


def _appeared(status: Status) -> Verdict:
    """The verdict of a cell that OLD lacks: a bad one is called what it is."""
    return "wrong" if status == "wrong" else "crash" if status in LOST_STATUSES else "appeared"


def _by_status(old: Status, new: Status) -> Verdict | None:
    """The verdict that the statuses alone give; None where both are ok."""
    if new == "wrong":
        return "wrong"
    if new in LOST_STATUSES:
        return "crash"
    if old == new:
        return None if new == "ok" else "same"
    return "missing" if old in ("ok", "noop") and new in _NOT_RUN else "status"


def _pipeline(device: str, old: PipelineRecord, new: PipelineRecord, threshold: float) -> Compared:
    verdict = _by_status(old.status, new.status)
    if verdict is not None:
        return Compared(device=device, verdict=verdict, old=old, new=new)
    because = kernel_change(old, new)
    if because is not None:
        return Compared(device=device, verdict="unjudged", old=old, new=new, because=because)
    changes = tuple(_changes(old, new))
    return Compared(device=device, verdict=_statistics(changes, threshold), old=old, new=new, changes=changes)


def _changes(old: PipelineRecord, new: PipelineRecord) -> list[Change]:
    """Changes in the normal form, the subgroup size, then raw statistics that the normal form doesn't cover; hashes aside."""
    fields = [*NORMAL, "subgroup_size"]
    changes = [Change(name, getattr(old, name), getattr(new, name)) for name in fields if getattr(old, name) != getattr(new, name)]
    normalised = HASHES.union(*(names_of(change.name) for change in changes))
    names = [name for name in dict.fromkeys((*new.raw, *old.raw)) if name not in normalised]
    return changes + [Change(name, old.raw.get(name), new.raw.get(name)) for name in names if old.raw.get(name) != new.raw.get(name)]


def _statistics(changes: tuple[Change, ...], threshold: float) -> Verdict:
    if not changes:
        return "same"
    by_name = {c.name: c for c in changes if c.old is not None and c.new is not None}
    spills, instructions, matrix = (by_name.get(n) for n in ("spills", "instructions", "matrix_instructions"))
    more = growth(instructions) if instructions else 0.0
    if (spills and spills.new > spills.old) or more > threshold or (matrix and matrix.new == 0):
        return "worse"
    improved = {(by_name[n].new > by_name[n].old) == (better == "higher") for n, better in _BETTER.items() if n in by_name}
    if len(improved) == 2:
        return "mixed"
    if (spills and spills.new < spills.old) or more < -threshold:
        return "better"
    return "changed"


def growth(change: Change) -> float:
    """How much more NEW has, as a share of OLD; infinite where OLD has none."""
    if not change.old:
        return float("inf") if change.new else 0.0
    return float(change.new / change.old - 1)


def _results(old: FileDevice, new: FileDevice) -> Iterator[Compared | times.Draft]:
    """Cells, and drafts of those that are ok on both sides."""
    left, right = (_by_tile(side) for side in (old, new))
    for key in dict.fromkeys((*old.results, *new.results)):
        a: ResultRecord | None = old.results.get(key)
        b: ResultRecord | None = new.results.get(key)
        if a is None or b is None:
            yield Compared(device=new.device, verdict=_alone(a, b), old=a, new=b)
            continue
        verdict = _by_status(a.status, b.status)
        cell = Compared(device=new.device, verdict=verdict or "unjudged", old=a, new=b)
        if verdict is not None:
            yield cell
            continue
        causes = _causes(_pipeline_of(a, left), _pipeline_of(b, right))
        yield times.drafted(cell, old.measured[key], new.measured[key], causes)


def _by_tile(device: FileDevice) -> dict[tuple[Any, ...], list[PipelineRecord]]:
    by_tile: dict[tuple[Any, ...], list[PipelineRecord]] = {}
    for p in device.pipelines.values():
        if p.status == "ok":
            by_tile.setdefault((p.kernel, p.tile), []).append(p)
    return by_tile


def _pipeline_of(r: ResultRecord, pipelines: dict[tuple[Any, ...], list[PipelineRecord]]) -> PipelineRecord | None:
    """The pipeline of a cell: the one of the same subgroup size where there are several."""
    there = pipelines.get((r.kernel, r.tile), [])
    there = [p for p in there if None in (p.spirv_sha, r.spirv_sha) or p.spirv_sha == r.spirv_sha]
    return next((p for p in there if p.subgroup_size == r.subgroup_size), there[0] if there else None)


def _causes(old: PipelineRecord | None, new: PipelineRecord | None) -> tuple[Change, ...]:
    if old is None or new is None:
        return ()
    return tuple(Change(name, getattr(old, name), getattr(new, name)) for name in _CAUSES if getattr(old, name) != getattr(new, name))


def _badness(cell: Compared) -> tuple[Any, ...]:
    """Sorts the worst first: by verdict, then by the ratio of times, then by spills, instructions and registers gained."""
    spills, registers = (_gained(cell, name) for name in ("spills", "registers"))
    instructions = cell.change("instructions")
    comparable = instructions is not None and instructions.old is not None and instructions.new is not None
    more = growth(instructions) if comparable and instructions is not None else 0.0
    far = abs(math.log(cell.ratio)) if cell.ratio else 0.0
    return list(VERDICTS).index(cell.verdict), -far, -spills, -more, -registers, cell.device, cell.record.kernel


def _gained(cell: Compared, name: str) -> float:
    change = cell.change(name)
    return 0.0 if change is None or change.old is None or change.new is None else change.new - change.old
