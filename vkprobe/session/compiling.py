"""Creating pipelines with the driver's caches off: one worker for a device, each pipeline a record, whatever becomes of it."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from vkprobe.bench.cells import Cell, Selection, Shape, cells
from vkprobe.bench.demand import register_budget, tile_registers
from vkprobe.bench.isa import IsaFolder, matrix_instructions
from vkprobe.bench.lives import CACHES_OFF, GivenUp, Lives, Lost
from vkprobe.bench.pipelines import MATRIX_PATHS, normal
from vkprobe.bench.plans import MOST_GEMV_COLUMNS, RUN_TYPES
from vkprobe.bench.resolve import Resolved
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerFailed
from vkprobe.jobs import Job, OpenRequest
from vkprobe.records import AnyRecord, DeviceRecord, PipelineRecord, Status

_M, _K = 4096, 14336  # llama.cpp's test-backend-ops shape
_FEW_ROWS, _MANY_ROWS = 4096, 16384  # a GEMV's workgroup has several subgroups for up to 8192 rows


class Progress(Protocol):
    """What is told while a device is compiled for, climbed with or measured."""

    def step(self, device: str, what: str, done: int, total: int) -> None:
        """`what` has begun: number `done` of `total` in this phase."""


def compile_cells(device: DeviceRecord, *, full: bool, types: Sequence[str] = (), paths: Sequence[str] = ()) -> list[Cell]:
    """The cells whose pipelines `compile` makes on a device: those of pp512 and token generation, or `full`, every tile of every kernel.

    Args:
        device: its vendor's rules choose tiles and tuples.
        full: all types, the shapes of all three tile sizes, N = 1 to 8, all f16 tuples.
        types, paths: empty for the main job's types and all paths.
    """
    columns = range(1, MOST_GEMV_COLUMNS + 1) if full else (1, 2, 4, 8)
    rows = (_FEW_ROWS, _MANY_ROWS) if full else (_FEW_ROWS,)
    tuples = ("all",) if full else ("default",)
    chosen = types or (() if full else RUN_TYPES)
    selections = [
        Selection(
            op="gemm", shapes=[Shape(_M, n, _K) for n in ((32, 64, 512) if full else (512,))], types=chosen, paths=paths, tuples=tuples
        ),
        Selection(op="gemv", shapes=[Shape(m, n, _K) for m in rows for n in columns], types=chosen, paths=paths),
        Selection(op="dequant", shapes=[Shape(_M, 1, _K)], types=chosen, paths=paths),
    ]
    if not types:
        selections.append(Selection(op="convert", shapes=[Shape(1, 512, _K)], paths=paths))
    return [cell for selection in selections for cell in cells(selection, device)]


def by_pipeline(resolved: Iterable[Resolved]) -> list[list[Resolved]]:
    """The cells in groups that share a pipeline, in order; those that the device can't run are one for each kernel and tile."""
    groups: dict[tuple[Any, ...], list[Resolved]] = {}
    for one in resolved:
        key = _key(one.job) if one.reason is None else (one.kernel.name, _tile(one), one.reason)
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _key(job: Job) -> tuple[Any, ...]:
    return job.kernel, tuple(job.constants), job.subgroup_size, job.full_subgroups, job.rounding_f16, job.denormals_f16


def _tile(resolved: Resolved) -> str | None:
    """The tile in words; None for a matrix path on a device without a matrix."""
    if resolved.cell.path == "coopmat2":
        return None if resolved.reason else resolved.tile
    return None if resolved.cell.path in MATRIX_PATHS and resolved.cell.tuple is None else resolved.tile


class Compiler:
    """Creates pipelines of one device in workers that may be lost; every one ends in a record.

    Args:
        known: whether a pipeline's record is there already, from the run that is being resumed.
        isa: where the compiler's texts go; None to drop them.
    """

    def __init__(
        self,
        spec: DriverSpec,
        device: DeviceRecord,
        request: OpenRequest,
        *,
        run: str,
        limit_s: float,
        sink: Callable[[AnyRecord], None],
        known: Callable[[PipelineRecord], bool] = lambda record: False,
        isa: IsaFolder | None = None,
    ) -> None:
        self.lives = Lives(spec, request, run, device.device, sink, CACHES_OFF)
        self._device, self._run, self._limit_s, self._sink, self._known, self._isa = device, run, limit_s, sink, known, isa

    def compile(self, resolved: Resolved) -> PipelineRecord:
        """Create one pipeline; raises GivenUp where no more workers will be started."""
        return self._ended(resolved, lambda: self.lives.ask(**self._request(resolved)))

    def begin(self, resolved: Resolved) -> PipelineRecord | None:
        """As `compile`, without waiting; a record where it has ended at once."""
        try:
            self.lives.begin(**self._request(resolved))
        except Lost as lost:
            return self._write(resolved, lost.end, lost.reason)
        return None

    def end(self, resolved: Resolved) -> PipelineRecord:
        """Wait for the pipeline that was begun."""
        return self._ended(resolved, self.lives.end)

    def without(self, resolved: Resolved, status: Status, reason: str) -> PipelineRecord:
        """The record of a pipeline that nobody tries to create."""
        return self._write(resolved, status, reason)

    def _request(self, resolved: Resolved) -> dict[str, Any]:
        job = msgspec.to_builtins(resolved.job)
        return {"verb": "compile", "where": f"compile {resolved.kernel.name}", "timeout": self._limit_s, "job": job}

    def _ended(self, resolved: Resolved, reply: Callable[[], dict[str, Any]]) -> PipelineRecord:
        try:
            told = reply()
        except WorkerFailed as error:
            return self._write(resolved, "error", error.reason)
        except Lost as lost:
            return self._write(resolved, lost.end, lost.reason)
        if self._isa is not None:
            self._isa.write(self._device.device, f"{resolved.kernel.name}-{resolved.tile}", told.get("texts", {}))
        return self._write(resolved, "ok", None, told)

    def _write(self, resolved: Resolved, status: Status, reason: str | None, told: dict[str, Any] | None = None) -> PipelineRecord:
        told = told or {}
        raw, path = told.get("statistics", {}), resolved.cell.path
        subgroup = told.get("subgroup_size") or resolved.subgroup_size
        matrix = matrix_instructions(told.get("texts", {}))
        if path in MATRIX_PATHS and matrix == 0:
            reason = f"compiled to no matrix instruction: {path} {resolved.cell.tuple or resolved.tile} is emulated with ordinary ones"
        record = PipelineRecord(
            run=self._run,
            device=self._device.device,
            kernel=resolved.kernel.name,
            path=path,
            type=resolved.cell.type,
            tile=_tile(resolved),
            subgroup_size=subgroup,
            status=status,
            reason=reason,
            compile_s=told.get("compile_s"),
            spirv_sha=resolved.spirv_sha,
            robust=resolved.robust,
            float_controls=resolved.float_controls,
            raw=raw,
            matrix_instructions=matrix,
            tile_registers=tile_registers(resolved.job, subgroup) if told else None,
            register_budget=register_budget(self._device, resolved.job, subgroup, raw) if told else None,
            **msgspec.structs.asdict(normal(self._device.driver.id, raw)),
        )
        if not self._known(record):
            self._sink(record)
        return record


class Lane(Struct, kw_only=True):
    """A device's pipelines on their way, one in its worker at a time."""

    device: str
    compiler: Compiler
    waiting: list[Resolved]
    running: Resolved | None = None


def compile_all(lanes: Sequence[Lane], *, progress: Progress, parallel: int) -> None:
    """Create every lane's pipelines, `parallel` devices at a time; ends all workers, also when interrupted."""
    if not lanes:
        return
    idle = list(lanes)[::-1]
    busy: list[Lane] = []
    counter = _Counter(progress, lanes)
    try:
        while idle or busy:
            while idle and len(busy) < parallel:
                lane = idle.pop()
                _next(lane, counter)
                busy.append(lane)
            running = [lane for lane in busy if lane.running is not None]
            soonest = min((lane.compiler.lives.left_s for lane in running), default=0.0)
            ready = select.select([lane.compiler.lives for lane in running], [], [], soonest)[0]
            for lane in running:
                lives = lane.compiler.lives
                if lane.running is not None and (lives in ready or lives.left_s == 0.0):
                    lane.compiler.end(lane.running)
                    _next(lane, counter)
            for lane in [lane for lane in busy if lane.running is None]:
                lane.compiler.lives.close()
                busy.remove(lane)
    finally:
        for lane in busy:
            lane.compiler.lives.close()


class _Counter:
    """Progress over all lanes together."""

    def __init__(self, progress: Progress, lanes: Sequence[Lane]) -> None:
        self._progress = progress
        self._who = lanes[0].device if len(lanes) == 1 else f"{len(lanes)} devices"
        self._where = len(lanes) > 1
        self._total = sum(r.reason is None for lane in lanes for r in lane.waiting)
        self._begun = 0

    def begun(self, lane: Lane, resolved: Resolved) -> None:
        where = f" on {lane.device}" if self._where else ""
        self._progress.step(self._who, f"compile {resolved.kernel.name}{where}", self._begun, self._total)
        self._begun += 1


def _next(lane: Lane, counter: _Counter) -> None:
    """Begin the lane's next pipeline that the device can take; those before it end here."""
    lane.running = None
    while lane.waiting and lane.running is None:
        resolved = lane.waiting.pop(0)
        if resolved.reason is not None:
            lane.compiler.without(resolved, "unsupported", resolved.reason)
            continue
        counter.begun(lane, resolved)
        try:
            if lane.compiler.begin(resolved) is None:
                lane.running = resolved
        except GivenUp as error:
            for left in (resolved, *lane.waiting):
                status: Status = "skipped" if left.reason is None else "unsupported"
                lane.compiler.without(left, status, left.reason or str(error))
            lane.waiting.clear()
