"""The worker behind the fixtures: one device's, started again after a loss, and the clock of what it ran."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from vkprobe.bench.device import open_request
from vkprobe.drivers.launch import Worker
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerFailed, WorkerLost
from vkprobe.jobs import OpenRequest
from vkprobe.records import DeviceRecord
from vkprobe.requirements.model import Requirement

_OPEN_TIMEOUT_S = 60.0
_MOST_STDERR_LINES = 12


class KernelFailed(Exception):
    """The driver refused a request (vkCreateComputePipelines, out of memory, ...); it lives."""


class DriverLost(Exception):
    """A request cost the driver's worker; the next test has a new one.

    Attributes:
        what: `crash`, `timeout` or `device-lost`.
        signal: the signal's name, None where there was none.
        stderr_tail: the last lines that the driver printed.
    """

    def __init__(self, what: str, message: str, signal: str | None, stderr_tail: str) -> None:
        super().__init__(message)
        self.what, self.signal, self.stderr_tail = what, signal, stderr_tail


class GpuClock:
    """GPU time (s) spent in kernels so far: a timer that only dispatches advance."""

    __name__ = "gpu"

    def __init__(self) -> None:
        self.total_s = 0.0
        self.dispatches = 0
        self.kind = "gpu"

    def __call__(self) -> float:
        """The time; what pytest-benchmark calls."""
        return self.total_s

    def add(self, time_s: float, kind: str) -> None:
        """A dispatch took so long; `kind` is `wall` where the device has no timestamps."""
        self.total_s += time_s
        self.dispatches += 1
        self.kind = kind


class Host:
    """One device's worker, opened with what the kernels so far need; `generation` counts its lives."""

    def __init__(self, spec: DriverSpec, device: DeviceRecord, clock: GpuClock) -> None:
        self.device, self.clock = device, clock
        self.executes = True
        self.generation = 0
        self._spec = spec
        self._requirements: list[Requirement] = []
        self._worker: Worker | None = None
        self._opened_with: OpenRequest | None = None
        self._numbers = itertools.count()
        self._folder = tempfile.TemporaryDirectory(prefix="vkprobe-")

    def number(self) -> int:
        """One that no other kernel of this host has."""
        return next(self._numbers)

    def file(self, name: str) -> Path:
        """Where bytes for the worker, or from it, lie for a moment."""
        return Path(self._folder.name) / name

    def need(self, requirement: Requirement) -> None:
        """Open the device with what this takes as well; a worker that was opened with less is ended."""
        if requirement not in self._requirements:
            self._requirements.append(requirement)
        if self._worker is not None and self._request() != self._opened_with:
            self._end(self._worker)

    def _request(self) -> OpenRequest:
        return open_request(self.device, self._requirements)

    def open(self) -> int:
        """Make sure that a worker lives with the device open; its generation.

        Raises:
            DriverLost, KernelFailed: opening the device failed.
            DriverError: no worker could be started.
        """
        __tracebackhide__ = True
        if self._worker is not None and not self._worker.alive():
            self._end(self._worker)
        if self._worker is None:
            self._worker = Worker(self._spec)
            self.generation += 1
            self._opened_with = self._request()
            opened = self._ask("open", "opening the device", _OPEN_TIMEOUT_S, **msgspec.to_builtins(self._opened_with))
            self.executes = bool(opened["executes"])
        return self.generation

    def alive(self) -> bool:
        """Whether the worker lives."""
        return self._worker is not None and self._worker.alive()

    def ask(self, verb: str, doing: str, timeout: float, **arguments: Any) -> Any:
        """A request to the worker, which `open` has started; `doing` is for messages ("dispatching x.spv").

        Raises:
            DriverLost: it cost the worker.
            KernelFailed: it failed, the worker lives.
        """
        __tracebackhide__ = True
        return self._ask(verb, doing, timeout, **arguments)

    def _ask(self, verb: str, doing: str, timeout: float, **arguments: Any) -> Any:
        __tracebackhide__ = True
        worker = self._worker
        assert worker is not None
        try:
            return worker.request(verb, timeout=timeout, **arguments)
        except WorkerLost as lost:
            self._end(worker)
            raise self._lost(lost.what, f"{lost.reason} while {doing}", lost.signal, lost.stderr_tail) from None
        except WorkerFailed as failed:
            if failed.code in ("timeout", "device-lost"):
                tail = worker.stderr_tail()
                self._end(worker)
                raise self._lost(failed.code, f"{failed.reason} while {doing}", None, tail) from None
            if verb == "open":
                self._end(worker)
            raise KernelFailed(f"{self.device.device}: {doing}: {failed.reason}") from None

    def _lost(self, what: str, reason: str, signal: str | None, tail: str) -> DriverLost:
        lines = tail.strip().splitlines()[-_MOST_STDERR_LINES:]
        printed = (
            "\nThe driver's last lines on stderr:\n" + "\n".join(f"  {line}" for line in lines)
            if lines
            else "\nThe driver printed nothing."
        )
        return DriverLost(what, f"{self.device.device} ({self.device.name}): {what}: {reason}{printed}", signal, tail)

    def _end(self, worker: Worker) -> None:
        worker.kill()
        self._worker = None

    def close(self) -> None:
        """End the worker and remove its files."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        self._folder.cleanup()
