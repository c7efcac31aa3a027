"""A session with one device: its worker is started, opened, lost and started again here, and nowhere else."""

from __future__ import annotations

import enum
import select
import time
from collections.abc import Callable
from typing import Any

from vkprobe.drivers.launch import Worker
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import FATAL_CODES, DriverError, WorkerFailed, WorkerLost
from vkprobe.program import Dispatch, Program
from vkprobe.protocol import Compile, Compiled, Fault, Open, Opened, Prepare, Prepared, Release, Request, Sample, Sampled
from vkprobe.records import AnyRecord, EventRecord, Status

_OPEN_TIMEOUT_S = 30.0
_FAULT_TIMEOUT_S = 5.0
MOST_LOSSES = 3
"""Losses in a row after which no more workers are started."""

CACHES_OFF = {"MESA_SHADER_CACHE_DISABLE": "1", "__GL_SHADER_DISK_CACHE": "0"}
"""Environment for timing pipeline creation; measuring leaves the driver's caches as users have them."""

Progress = Callable[[dict[str, Any]], None]


class State(enum.Enum):
    """The state of a session's worker."""

    CLOSED = "closed"
    """No worker runs; the next request starts one."""
    OPEN = "open"
    """A worker runs, and the device is open in it."""
    LOST = "lost"
    """The worker was lost; the next request starts another."""


class Lost(DriverError):
    """A request cost its worker.

    Attributes:
        end: the status of the cell that it was on.
        cause: how the worker was lost.
        reason: the cause, with the last line that the driver printed.
    """

    def __init__(self, status: Status, cause: str, signal: str | None = None, stderr_tail: str = "") -> None:
        last = (stderr_tail.strip().splitlines() or [""])[-1].strip()
        reason = f"{cause} ({last[:200]})" if last and last not in cause else cause
        super().__init__(reason)
        self.end: Status = status
        self.cause, self.reason = cause, reason
        self.signal, self.stderr_tail = signal, stderr_tail


class GivenUp(DriverError):
    """The worker was lost three times in a row, or can't be started: the device's remaining cells are skipped."""


class _Pending:
    """A request whose reply is awaited."""

    def __init__(self, worker: Worker, where: str, timeout: float) -> None:
        self.worker, self.where, self.timeout = worker, where, timeout
        self.deadline = time.monotonic() + timeout


class DeviceSession:
    """One device, opened in one worker at a time.

    After a time-out or a loss a worker is never used again: its late dispatches could write into buffers of other cells.

    Args:
        request: what to open the device with.
        run, device: name the events.
        sink: takes events as they happen.
        environment: variables for the worker on top of the driver's own.
        open_timeout_s: limits opening the device.

    Attributes:
        state: of the worker.
        generation: counts the workers; what was prepared in one is gone in the next.
        losses: how many workers were lost.
        opened: the reply to opening the device, of the current worker.
    """

    def __init__(
        self,
        spec: DriverSpec,
        request: Open,
        run: str,
        device: str,
        sink: Callable[[AnyRecord], None],
        environment: dict[str, str] | None = None,
        *,
        open_timeout_s: float = _OPEN_TIMEOUT_S,
    ) -> None:
        self._spec, self._request, self._run, self._device, self._sink = spec, request, run, device, sink
        self._environment, self._open_timeout_s = environment or {}, open_timeout_s
        self._worker: Worker | None = None
        self._in_a_row = 0
        self._pending: _Pending | None = None
        self.state = State.CLOSED
        self.generation = 0
        self.losses = 0
        self.opened = Opened(executes=False, timestamps=False)

    def holds(self, generation: int) -> bool:
        """Whether the current worker is the one of this generation."""
        return self.state is State.OPEN and generation == self.generation

    # Typed requests.

    def compile(self, stage: Dispatch, *, where: str, timeout: float) -> Compiled:
        """Create a pipeline; raises as `ask` does."""
        reply: Compiled = self.ask(Compile(stage=stage), where=where, timeout=timeout)
        return reply

    def prepare(self, number: int, program: Program, *, where: str, timeout: float, dispatch_timeout_s: float) -> Prepared:
        """Compile and verify a program under a number; raises as `ask` does."""
        request = Prepare(number=number, program=program, timeout_s=dispatch_timeout_s)
        reply: Prepared = self.ask(request, where=where, timeout=timeout)
        return reply

    def sample(self, request: Sample, *, where: str, timeout: float) -> Sampled:
        """One round of a prepared program; raises as `ask` does."""
        reply: Sampled = self.ask(request, where=where, timeout=timeout)
        return reply

    def release(self, number: int, *, timeout: float) -> None:
        """Give a prepared program back; raises as `ask` does."""
        self.ask(Release(number=number), where="giving buffers back", timeout=timeout)

    # Any request.

    def ask(self, request: Request, *, where: str, timeout: float, progress: Progress | None = None) -> Any:
        """Send a request and wait for its reply; a worker is started and the device opened first if there is none.

        Raises:
            WorkerFailed: the request failed, the worker lives.
            Lost: it cost the worker; an event has been recorded.
            GivenUp: no more workers will be started.
        """
        worker = self.open(where)
        try:
            reply = worker.request(request, timeout=timeout, progress=progress)
        except (WorkerLost, WorkerFailed) as error:
            raise self._failure(error, where) from None
        self._in_a_row = 0
        return reply

    def begin(self, request: Request, *, where: str, timeout: float) -> None:
        """Send a request without waiting; `end` returns the reply. Raises Lost or GivenUp if no worker can be had."""
        worker = self.open(where)
        worker.send(request)
        self._pending = _Pending(worker, where, timeout)

    def fileno(self) -> int:
        """File descriptor to select() on for the reply to the pending request."""
        assert self._pending is not None
        return self._pending.worker.fileno()

    @property
    def left_s(self) -> float:
        """Time left for the pending request (s)."""
        assert self._pending is not None
        return max(0.0, self._pending.deadline - time.monotonic())

    def end(self) -> Any:
        """Wait for the reply to the request that was begun; raises as `ask` does."""
        assert self._pending is not None
        pending = self._pending
        try:
            while select.select([pending.worker], [], [], self.left_s)[0]:
                if pending.worker.advance():
                    self._in_a_row = 0
                    return pending.worker.reply
            raise pending.worker.time_out(pending.timeout)
        except (WorkerLost, WorkerFailed) as error:
            raise self._failure(error, pending.where) from None
        finally:
            self._pending = None

    def open(self, where: str) -> Worker:
        """The current worker with the device open in it, started if there is none; raises as `ask` does."""
        if self._worker is not None:
            return self._worker
        if self._in_a_row >= MOST_LOSSES:
            raise GivenUp(f"the worker was lost {MOST_LOSSES} times in a row")
        try:
            worker = Worker(self._spec, self._environment)
        except DriverError as error:
            raise GivenUp(str(error)) from None
        if self.state is State.LOST:
            self._event("restart", where)
        self._worker, self.state = worker, State.OPEN
        self.generation += 1
        try:
            self.opened = worker.request(self._request, timeout=self._open_timeout_s)
        except (WorkerLost, WorkerFailed) as error:
            failure = self._failure(error, "opening the device")
            if isinstance(failure, WorkerFailed):
                self.close()
                raise GivenUp(f"the device can't be opened: {failure.reason}") from None
            raise failure from None
        return worker

    def _failure(self, error: WorkerLost | WorkerFailed, where: str) -> WorkerFailed | Lost:
        """The exception to raise for `error`; a worker that is of no more use is ended, and an event recorded."""
        if isinstance(error, WorkerFailed) and error.code not in FATAL_CODES:
            self._in_a_row = 0
            return error
        signal, tail = None, ""
        status: Status
        if isinstance(error, WorkerFailed):
            status = "timeout" if error.code == "timeout" else "device-lost"
        else:
            status = "timeout" if error.what == "timeout" else "crash"
            signal, tail = error.signal, error.stderr_tail
        fault = None
        if self._worker is not None:
            fault = self._fault(self._worker) if status == "device-lost" else None
            self._worker.kill()
            tail = tail or self._worker.stderr_tail()
            self._worker = None
        self._in_a_row += 1
        self.state = State.LOST
        self.losses += 1
        self._event(status, where, signal, tail, fault)
        return Lost(status, error.reason, signal, tail)

    @staticmethod
    def _fault(worker: Worker) -> str | None:
        try:
            report: str | None = worker.request(Fault(), timeout=_FAULT_TIMEOUT_S).report
        except (WorkerLost, WorkerFailed):
            return None  # a driver that has just lost its device owes nobody an answer
        return report

    def _event(self, what: str, where: str, signal: str | None = None, tail: str = "", fault: str | None = None) -> None:
        self._sink(EventRecord(run=self._run, device=self._device, what=what, where=where, signal=signal, stderr_tail=tail, fault=fault))

    def alive(self) -> bool:
        """Whether a worker runs."""
        return self._worker is not None and self._worker.alive()

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
            self.state = State.CLOSED
