"""A device's worker that may be lost: started again where it was, its losses counted and told."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

import msgspec

from vkprobe.drivers.launch import Worker
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import DriverError, WorkerFailed, WorkerLost
from vkprobe.jobs import OpenRequest
from vkprobe.records import AnyRecord, EventRecord, Status

_OPEN_TIMEOUT_S = 30.0
_FAULT_TIMEOUT_S = 5.0
_MOST_LOSSES = 3

CACHES_OFF = {"MESA_SHADER_CACHE_DISABLE": "1", "__GL_SHADER_DISK_CACHE": "0"}
"""For timing pipeline creation; measuring leaves the driver's caches as users have them."""


class Lost(DriverError):
    """A request that cost its worker: how the cell it was on ends."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.end: Status = status
        self.reason = reason


class GivenUp(DriverError):
    """The device's worker was lost three times in a row, or can't be started: the rest is skipped."""


class Lives:
    """Workers for one device, one at a time; `generation` counts them."""

    def __init__(
        self, spec: DriverSpec, request: OpenRequest, run: str, device: str, sink: Callable[[AnyRecord], None], environment: dict[str, str]
    ) -> None:
        self._spec, self._request, self._run, self._device, self._sink = spec, request, run, device, sink
        self._environment = environment
        self._worker: Worker | None = None
        self._in_a_row = 0
        self._bereft = False  # whether the last worker was lost, and none has been started since
        self.generation = 0
        self.losses = 0
        self.opened: dict[str, Any] = {}
        self._asked: tuple[Worker, str, float, float] | None = None

    def living(self, generation: int) -> bool:
        """Whether the worker of this generation is the one that lives now."""
        return self._worker is not None and generation == self.generation

    def ask(self, verb: str, *, where: str, timeout: float, **arguments: Any) -> Any:
        """A request to the device's worker, started and opened first where there is none.

        Raises:
            WorkerFailed: the request failed, the worker lives.
            Lost: it cost the worker; an event has been recorded.
            GivenUp: no more workers will be started.
        """
        worker = self.open(where)
        try:
            reply = worker.request(verb, timeout=timeout, **arguments)
        except (WorkerLost, WorkerFailed) as error:
            raise self._told(error, where) from None
        self._in_a_row = 0
        return reply

    def begin(self, verb: str, *, where: str, timeout: float, **arguments: Any) -> None:
        """As `ask`, without waiting: `end` gives the reply. Raises Lost or GivenUp where no worker can be had."""
        worker = self.open(where)
        worker.send(verb, **arguments)
        self._asked = worker, where, time.monotonic() + timeout, timeout

    def fileno(self) -> int:
        """What to select() on for the reply to the request that was begun."""
        assert self._asked is not None
        return self._asked[0].fileno()

    @property
    def left_s(self) -> float:
        """How long the request that was begun may still take."""
        assert self._asked is not None
        return max(0.0, self._asked[2] - time.monotonic())

    def end(self) -> Any:
        """Wait for the reply to the request that was begun; raises as `ask` does."""
        assert self._asked is not None
        worker, where, _, timeout = self._asked
        try:
            while select.select([worker], [], [], self.left_s)[0]:
                if worker.advance():
                    self._in_a_row = 0
                    return worker.reply
            raise worker.time_out(timeout)
        except (WorkerLost, WorkerFailed) as error:
            raise self._told(error, where) from None
        finally:
            self._asked = None

    def open(self, where: str) -> Worker:
        """The worker that lives now, the device open in it; raises as `ask` does."""
        if self._worker is not None:
            return self._worker
        if self._in_a_row >= _MOST_LOSSES:
            raise GivenUp(f"the worker was lost {_MOST_LOSSES} times in a row")
        try:
            self._worker = worker = Worker(self._spec, self._environment)
        except DriverError as error:
            raise GivenUp(str(error)) from None
        self.generation += 1
        if self._bereft:
            self._event("restart", where)
        self._bereft = False
        try:
            self.opened = worker.request("open", timeout=_OPEN_TIMEOUT_S, **msgspec.to_builtins(self._request))
        except (WorkerLost, WorkerFailed) as error:
            told = self._told(error, "opening the device")
            if isinstance(told, WorkerFailed):
                self.close()
                raise GivenUp(f"the device can't be opened: {told.reason}") from None
            raise told from None
        return worker

    def _told(self, error: WorkerLost | WorkerFailed, where: str) -> WorkerFailed | Lost:
        """What to raise for `error`; a worker that is of no more use is ended, and an event recorded."""
        if isinstance(error, WorkerFailed) and error.code not in ("timeout", "device-lost"):
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
        self._bereft = True
        self.losses += 1
        self._event(status, where, signal, tail, fault)
        last = tail.strip().splitlines()[-1:]
        return Lost(status, error.reason + (f" ({last[0].strip()[:200]})" if last and last[0].strip() not in error.reason else ""))

    @staticmethod
    def _fault(worker: Worker) -> str | None:
        try:
            report: str | None = worker.request("fault", timeout=_FAULT_TIMEOUT_S)["report"]
        except (WorkerLost, WorkerFailed):
            return None  # a driver that has just lost its device owes nobody an answer
        return report

    def _event(self, what: str, where: str, signal: str | None = None, tail: str = "", fault: str | None = None) -> None:
        self._sink(EventRecord(run=self._run, device=self._device, what=what, where=where, signal=signal, stderr_tail=tail, fault=fault))

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
