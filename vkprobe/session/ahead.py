"""A second worker on a software device, so that both of a machine's cores compile.

Such a device compiles at a kernel's first dispatch, on one core, and keeps the result in its shader cache. A worker that
prepares the cells from the other end fills that cache for the one that measures; its own fate decides nothing.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Any

from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerFailed
from vkprobe.protocol import Open, Prepare, Release, Request
from vkprobe.session.device import DeviceSession, GivenUp, Lost


class Ahead:
    """Prepares cells from the last one on, in a worker of its own, until it meets the one who comes from the first.

    Args:
        requests: of each cell, in the order in which the other worker comes to them.
        timeout_s: limits one request.
    """

    def __init__(self, spec: DriverSpec, request: Open, device: str, requests: Sequence[Prepare], timeout_s: float) -> None:
        self._session = DeviceSession(spec, request, "", device, lambda record: None)
        self._steps: list[Request] = [step for one in requests for step in (Release(number=one.number), one)]
        self._timeout_s = timeout_s
        self._asked = False
        self._begin()

    def _begin(self) -> None:
        step = self._steps.pop()
        self._asked = self._did(lambda: self._session.begin(step, where="ahead", timeout=self._timeout_s))

    def _did(self, act: Callable[[], Any]) -> bool:
        """Whether there is still a worker. A cell that fails here fails again where it counts, and is recorded there."""
        try:
            act()
        except WorkerFailed:
            return True  # the worker lives on
        except (Lost, GivenUp):
            self._steps = []
            return False
        return True

    def attend(self, other: DeviceSession, number: int) -> None:
        """Work on while `other` waits for its reply to request `number`."""
        while self._asked:
            ready = select.select([other, self._session], [], [], min(other.left_s, self._session.left_s))[0]
            if other in ready or other.left_s == 0.0:
                return
            self._asked = False
            if self._did(self._session.end) and len(self._steps) > 2 * (number + 1):
                self._begin()

    def close(self) -> None:
        """End the worker."""
        self._session.close()
