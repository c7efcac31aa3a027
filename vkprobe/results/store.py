"""Record files (JSON Lines): reading them as typed records, choosing the record of each cell that counts, and appending.

Readers are strict about lines that aren't records (a sentence with file and line) and tolerant of newer versions: they pass over
unknown fields, and over unknown kinds that come with a `run`. They skip a line that a killed process left torn.
Results of schema 1 are lifted as they are read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple, TypeVar

import msgspec

from vkprobe.builds import build_key
from vkprobe.cell import Cell
from vkprobe.decoding import json_fault, syntax_fault
from vkprobe.errors import UsageError
from vkprobe.ops import find, schema1
from vkprobe.records import (
    KINDS,
    RETRIED_STATUSES,
    AnyRecord,
    DeviceRecord,
    DriverRecord,
    EventRecord,
    LadderRecord,
    PipelineRecord,
    ResultRecord,
    RunRecord,
    Time,
    encode,
    moment,
)
from vkprobe.results import lift
from vkprobe.results.keys import DeviceKey, PipelineKey, climb_key, device_key, pipeline_key

_MAX_LINE_BYTES = 64 << 20  # a result with every sample has some 100 KiB; what is longer is no record
_EXPECTED = (
    "vkprobe records are JSON Lines, one object a line with `kind` first "
    "(run, driver, device, ladder, pipeline, result, gap, choice, event)"
)
_LATELY = timedelta(days=1)
_START = b'{"kind":"'

# strict=False: non-finite floats are the strings "inf", "-inf", "nan".
_decoder: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord, strict=False)


class _Head(msgspec.Struct):
    """The fields that identify a line as a record; a result without `axes` is of schema 1."""

    kind: str | None = None
    run: str | None = None
    axes: Any = None


class _NotJson(UsageError):
    """A line that is no JSON at all: an error, unless it is the last one and torn."""


_head_decoder = msgspec.json.Decoder(_Head)


def read_records(path: str | os.PathLike[str]) -> Iterator[AnyRecord]:
    """The records of a file, in order; `-` is standard input.

    Raises:
        UsageError: it can't be read, or a line is no record; names the file, the line and what was expected.
    """
    name = os.fspath(path)
    if name == "-":
        yield from _read(sys.stdin.buffer, "standard input")
        return
    try:
        with open(name, "rb") as file:
            yield from _read(file, name)
    except OSError as error:
        raise UsageError(f"{name}: can't be read: {error.strerror}") from None


def _read(file: IO[bytes], name: str) -> Iterator[AnyRecord]:
    number = count = 0
    while line := file.readline(_MAX_LINE_BYTES):
        number += 1
        ended = line.endswith(b"\n")
        if not ended and len(line) == _MAX_LINE_BYTES:
            raise UsageError(f"{name}, line {number}: longer than 64 MiB. {_EXPECTED}")
        line = line.strip()
        if not line:
            continue
        try:
            record = None if count and _START.startswith(line) else _decode(line, f"{name}, line {number}")
        except _NotJson:
            if ended or not count:
                raise
            break  # the last line, which nobody has ended: a process was killed while it wrote
        count += 1
        if record is not None:
            yield record
    if not count:
        raise UsageError(f"{name}: holds no records. {_EXPECTED}")


def _decode(line: bytes, where: str) -> AnyRecord | None:
    """The record of a line; None for a torn line and for kinds that this version doesn't know."""
    try:
        head = _head_decoder.decode(line)
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply for a record. {_EXPECTED}") from None
    except msgspec.ValidationError:
        raise UsageError(f"{where}: {json_fault(line, _Head)}. {_EXPECTED}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Ended by an appender, or joined by `cat` to the first record of the next file.
        joined = line.rfind(_START)
        if joined > 0:
            return _decode(line[joined:], where)
        if joined == 0 and _cut_short(line):
            return None
        raise _NotJson(f"{where}: not JSON. {_EXPECTED}") from None
    if head.kind is None or (head.kind not in KINDS and head.run is None):
        what = "an object without `kind`" if head.kind is None else f"of the unknown kind {head.kind[:40]!r}, without a `run`"
        raise UsageError(f"{where}: {what}. {_EXPECTED}")
    if head.kind not in KINDS:
        return None
    try:
        if head.kind == "result" and head.axes is None:
            return schema1.lift(schema1.decoder.decode(line))
        return _decoder.decode(line)
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply for a record. {_EXPECTED}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UsageError(f"{where}: not a valid {head.kind} record: {json_fault(line, AnyRecord, strict=False)}") from None


def _cut_short(line: bytes) -> bool:
    """Whether a line is the beginning of JSON; a torn line may end within a character."""
    fault = syntax_fault(line.decode(errors="ignore").encode())
    return fault is not None and fault.cut_short


class Orphan(NamedTuple):
    """Stands for a device whose record is in none of the files."""

    run: str
    device: str


_T = TypeVar("_T", ResultRecord, PipelineRecord, LadderRecord)


class Store:
    """The records of some files, with the newest of each cell.

    Attributes:
        runs: by their uuid, in order of appearance.
        drivers: the newest record of each driver, by name.
        devices: the newest record of each device, by key, in order of appearance.
        results: the newest result of each cell, by (device key, cell).
        measured: all results of each cell, oldest first, by the same keys.
        pipelines: the newest of each pipeline, by (device key, `pipeline_key`).
        ladder: the newest of each climb, by (device key, the tuple or feature).
        events: all, in order.
    """

    def __init__(self, records: Iterable[AnyRecord]) -> None:
        self.runs: dict[str, RunRecord] = {}
        self.drivers: dict[str, DriverRecord] = {}
        self.devices: dict[DeviceKey, DeviceRecord] = {}
        self.events: list[EventRecord] = []
        results: list[ResultRecord] = []
        pipelines: list[PipelineRecord] = []
        ladder: list[LadderRecord] = []
        devices: list[DeviceRecord] = []
        for record in records:
            if isinstance(record, ResultRecord):
                results.append(lift.result(record))
            elif isinstance(record, PipelineRecord):
                pipelines.append(lift.pipeline(record))
            elif isinstance(record, DeviceRecord):
                devices.append(record)
            elif isinstance(record, RunRecord):
                self.runs[record.run] = record
            elif isinstance(record, DriverRecord):
                _keep_newest(self.drivers, record.driver, record)
            elif isinstance(record, LadderRecord):
                ladder.append(lift.climb(record))
            elif isinstance(record, EventRecord):
                self.events.append(record)  # gaps and choices follow from the device's facts: they are not kept
        self._keys = {(d.run, d.device): device_key(d, self.runs.get(d.run)) for d in devices}
        for device in devices:
            _keep_newest(self.devices, self._keys[device.run, device.device], device)
        self.measured: dict[tuple[DeviceKey, Cell], list[ResultRecord]] = {}
        for result in by_time(results):
            self.measured.setdefault((self.key_of(result), result.cell), []).append(result)
        self.results = {key: records[-1] for key, records in self.measured.items()}
        self.pipelines = {(self.key_of(p), pipeline_key(p)): p for p in by_time(pipelines)}
        self.ladder = {(self.key_of(r), climb_key(r)): r for r in by_time(ladder)}

    @classmethod
    def load(cls, paths: Sequence[str | os.PathLike[str]]) -> Store:
        """The records of several files together; raises as `read_records` does."""
        return cls(record for path in paths for record in read_records(path))

    def key_of(self, record: ResultRecord | PipelineRecord | LadderRecord | EventRecord) -> DeviceKey:
        """The device that a record belongs to, through its run; a device without a record has a key of its id alone."""
        return self._keys.get((record.run, record.device)) or DeviceKey(record.device)


def by_time(records: list[_T]) -> list[_T]:
    """Oldest first; of equal times, in the order of the files (the sort is stable)."""
    return sorted(records, key=lambda r: r.at)


_R = TypeVar("_R", DeviceRecord, DriverRecord)


def _keep_newest(into: dict[Any, _R], key: Any, record: _R) -> None:
    if key not in into or into[key].at <= record.at:
        into[key] = record


CellDone = tuple[DeviceKey, Cell, tuple[Any, ...]]


class Done(NamedTuple):
    """Work that need not be repeated.

    Attributes:
        cells: by (device key, cell, `build_key`).
        pipelines: by (device key, `pipeline_key`, `build_key`).
        climbs: by (device key, `climb_key`).
        ceilings: the correct results among the cells that measure the device itself; other cells are held against them.
    """

    cells: frozenset[CellDone]
    pipelines: frozenset[tuple[DeviceKey, PipelineKey, tuple[Any, ...]]]
    climbs: frozenset[tuple[DeviceKey, str]] = frozenset()
    ceilings: Mapping[CellDone, ResultRecord] = MappingProxyType({})


def done(path: str | os.PathLike[str]) -> Done:
    """The work that a run which appends to `path` finds done there; nothing where the file doesn't exist or is empty.

    Ask with the key of the device as it is now (`device_key`): under another driver, on another host or with another environment
    nothing is done yet. Cells whose newest record ended in crash, timeout or device-lost count as not done.

    Raises:
        UsageError: the file holds something else than records.
    """
    return _done(_store(path))


def _store(path: str | os.PathLike[str]) -> Store:
    return Store.load([path]) if _holds_anything(path) else Store([])


def _done(store: Store) -> Done:
    ended = {(*key, build_key(r)): r for key, r in store.results.items() if r.status not in RETRIED_STATUSES and not r.interrupted}
    return Done(
        frozenset(ended),
        frozenset((*key, build_key(p)) for key, p in store.pipelines.items() if p.status not in RETRIED_STATUSES),
        frozenset(key for key, c in store.ladder.items() if c.status not in RETRIED_STATUSES),
        {key: r for key, r in ended.items() if find(r.op).ceiling and r.status == "ok"},
    )


def lately(path: str | os.PathLike[str], run: RunRecord) -> Done:
    """The ceilings in `path` that `run` may take for its own: those that are steady and of the last day.

    Their keys hold host and environment, so that a device finds those that were measured under its own conditions only.

    Raises:
        UsageError: the file holds something else than records.
    """
    store = _store(path)
    since = moment(run.at) - _LATELY

    def usable(result: ResultRecord) -> bool:
        return result.run in store.runs and moment(result.at) >= since and isinstance(result.time, Time) and result.time.steady

    return Done(frozenset(), frozenset(), ceilings={key: r for key, r in _done(store).ceilings.items() if usable(r)})


def _holds_anything(path: str | os.PathLike[str]) -> bool:
    try:
        return os.stat(path).st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(f"{os.fspath(path)}: can't be read: {error.strerror}") from None


class Appender:
    """Appends records to a file, one write and flush each, so that a killed process tears one line at most.

    Opens at once: a path that can't be written is an error before any work is done.

    Raises:
        UsageError: the path can't be written, or the file holds something else than records.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise UsageError(f"{self.path}: is a folder; name a file to append records to")
        if _holds_anything(self.path) and not self.path.is_char_device() and not self.path.is_fifo():
            for _ in read_records(self.path):
                break  # the first line shows whether records live here; `done` and `lately` read the whole file
        try:
            self._file = open(self.path, "ab", buffering=0)
            torn = self._is_torn()
        except OSError as error:
            raise UsageError(f"{self.path}: can't be written: {error.strerror}") from None
        if torn:
            self._write(b"\n")

    def _is_torn(self) -> bool:
        if not self.path.is_file() or self.path.stat().st_size == 0:
            return False
        with open(self.path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"

    def append(self, record: AnyRecord) -> None:
        """Write one record; raises UsageError where the disk takes no more."""
        self._write(encode(record) + b"\n")

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[self._file.write(data) or 0 :]
        except OSError as error:
            raise UsageError(f"{self.path}: can't be written: {error.strerror}") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Appender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
