"""A second worker on a software device, so that both of a machine's halves compile.

Such a device compiles at a kernel's first dispatch, on one core, and keeps what it made in its shader cache. A worker that
prepares the cells from the other end leaves its half there for the one that measures; what becomes of it decides nothing.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Any

from vkprobe.bench.lives import GivenUp, Lives, Lost
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerFailed
from vkprobe.jobs import OpenRequest


class Ahead:
    """Prepares cells from the last one on, in a worker of its own, until it meets the one who comes from the first.

    Args:
        requests: the arguments of each cell's `prepare`, in the order in which the other one comes to them.
        timeout_s: of one request.
    """

    def __init__(self, spec: DriverSpec, request: OpenRequest, device: str, requests: Sequence[dict[str, Any]], timeout_s: float) -> None:
        self._lives = Lives(spec, request, "", device, lambda record: None, {})
        self._steps = [step for arguments in requests for step in (("release", {"cell": arguments["cell"]}), ("prepare", arguments))]
        self._timeout_s = timeout_s
        self._asked = False
        self._begin()

    def _begin(self) -> None:
        verb, arguments = self._steps.pop()
        self._asked = self._did(lambda: self._lives.begin(verb, where="ahead", timeout=self._timeout_s, **arguments))

    def _did(self, act: Callable[[], Any]) -> bool:
        """Whether there is a worker still: whatever befalls a cell here befalls it again where it counts, and is told there."""
        try:
            act()
        except WorkerFailed:
            return True  # the worker lives on
        except (Lost, GivenUp):
            self._steps = []
            return False
        return True

    def attend(self, other: Lives, number: int) -> None:
        """Work on while `other` waits for its reply to request `number`."""
        while self._asked:
            ready = select.select([other, self._lives], [], [], min(other.left_s, self._lives.left_s))[0]
            if other in ready or other.left_s == 0.0:
                return
            self._asked = False
            if self._did(self._lives.end) and len(self._steps) > 2 * (number + 1):
                self._begin()

    def close(self) -> None:
        """End the worker."""
        self._lives.close()
