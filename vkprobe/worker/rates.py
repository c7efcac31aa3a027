"""How two pipelines compare: timed in turn, on work that grows until it is long enough to time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from vkprobe.worker.session import Session
from vkprobe.worker.vk.pipeline import Pipeline

_LEAST_S = 0.002
_FOR_S = 0.3
_LEAST_SAMPLES, _MOST_SAMPLES = 3, 100
_TIMEOUT_S = 60.0


def ratio(
    session: Session, pipeline: Pipeline, plain: Pipeline, recorded: Callable[[Pipeline, int], Any], amount: int, most: int
) -> float | None:
    """Time of `pipeline` over that of `plain`, medians of samples taken in turn; None where the plain one's can't be measured.

    Args:
        recorded: a command buffer of an amount of work by one of them.
        amount: to begin with; it grows to `most` where a sample takes less than 2 ms.
    """

    def seconds(commands: Any) -> float:
        sample = session.commands.time(commands, _TIMEOUT_S)
        return sample.wall_s if sample.gpu_s is None else sample.gpu_s

    while True:
        pair = [recorded(one, amount) for one in (pipeline, plain)]
        first = min(min(seconds(commands) for _ in range(2)) for commands in pair)
        if first >= _LEAST_S or amount >= most:
            break
        for commands in pair:
            session.commands.free(commands)
        amount *= 4 if first < _LEAST_S / 4 else 2
    times: tuple[list[float], list[float]] = ([], [])
    began = time.perf_counter()
    while len(times[0]) < _LEAST_SAMPLES or (time.perf_counter() - began < _FOR_S and len(times[0]) < _MOST_SAMPLES):
        for taken, commands in zip(times, pair, strict=True):
            taken.append(seconds(commands))
    for commands in pair:
        session.commands.free(commands)
    plain_s = float(np.median(times[1]))
    return float(np.median(times[0])) / plain_s if plain_s > 0 else None
