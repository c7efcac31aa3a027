"""The worker behind the fixtures: one device's, started again after a loss, and the clock of what it ran."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerFailed
from vkprobe.protocol import Open, Request
from vkprobe.records import DeviceRecord
from vkprobe.requirements.model import Requirement
from vkprobe.session.device import DeviceSession, GivenUp, Lost
from vkprobe.session.opening import open_request

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
    """One device's session, opened with what the kernels so far need; `generation` counts its workers."""

    def __init__(self, spec: DriverSpec, device: DeviceRecord, clock: GpuClock) -> None:
        self.device, self.clock = device, clock
        self._spec = spec
        self._requirements: list[Requirement] = []
        self._session: DeviceSession | None = None
        self._earlier = 0
        self._opened_with: Open | None = None
        self._numbers = itertools.count()
        self._folder = tempfile.TemporaryDirectory(prefix="vkprobe-")

    @property
    def executes(self) -> bool:
        """Whether the device executes what it is given."""
        return self._session is None or self._session.opened.executes

    @property
    def generation(self) -> int:
        """The current worker's number."""
        return self._earlier + (self._session.generation if self._session is not None else 0)

    def number(self) -> int:
        """A number that no other kernel of this host has."""
        return next(self._numbers)

    def file(self, name: str) -> Path:
        """A path for bytes on their way to the worker, or from it."""
        return Path(self._folder.name) / name

    def need(self, requirement: Requirement) -> None:
        """Open the device with what this takes as well; a worker that was opened with less is ended."""
        if requirement not in self._requirements:
            self._requirements.append(requirement)
        if self._session is not None and open_request(self.device, self._requirements) != self._opened_with:
            self._end()

    def open(self) -> int:
        """Make sure that a worker lives with the device open; its generation.

        Raises:
            DriverLost, KernelFailed: opening the device failed.
            DriverError: no worker could be started.
        """
        __tracebackhide__ = True
        if self._session is not None and not self._session.alive():
            self._end()
        if self._session is None:
            self._opened_with = open_request(self.device, self._requirements)
            self._session = DeviceSession(
                self._spec, self._opened_with, "", self.device.device, lambda event: None, open_timeout_s=_OPEN_TIMEOUT_S
            )
        try:
            self._session.open("opening the device")
        except Lost as lost:
            self._end()
            raise self._lost(lost, "opening the device") from None
        except GivenUp as error:
            self._end()
            raise KernelFailed(f"{self.device.device}: {error}") from None
        return self.generation

    def alive(self) -> bool:
        """Whether the worker lives."""
        return self._session is not None and self._session.alive()

    def ask(self, request: Request, doing: str, timeout: float) -> Any:
        """A request to the worker, which `open` has started; `doing` is for messages ("dispatching x.spv").

        Raises:
            DriverLost: it cost the worker.
            KernelFailed: it failed, the worker lives.
        """
        __tracebackhide__ = True
        session = self._session
        assert session is not None
        try:
            return session.ask(request, where=doing, timeout=timeout)
        except Lost as lost:
            self._end()
            raise self._lost(lost, doing) from None
        except WorkerFailed as failed:
            raise KernelFailed(f"{self.device.device}: {doing}: {failed.reason}") from None

    def _lost(self, lost: Lost, doing: str) -> DriverLost:
        lines = lost.stderr_tail.strip().splitlines()[-_MOST_STDERR_LINES:]
        printed = (
            "\nThe driver's last lines on stderr:\n" + "\n".join(f"  {line}" for line in lines)
            if lines
            else "\nThe driver printed nothing."
        )
        message = f"{self.device.device} ({self.device.name}): {lost.end}: {lost.cause} while {doing}{printed}"
        return DriverLost(lost.end, message, lost.signal, lost.stderr_tail)

    def _end(self) -> None:
        if self._session is not None:
            self._earlier += self._session.generation
            self._session.close()
            self._session = None

    def close(self) -> None:
        """End the worker and remove its files."""
        self._end()
        self._folder.cleanup()
