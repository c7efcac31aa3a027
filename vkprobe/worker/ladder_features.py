"""The rungs of one feature: its kernels compile, run, give checked results, and where there is a plain equivalent, run faster.

What a kernel is given and must give is in number_checks and matrix_checks; here is what they have in common with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vkprobe.ops.reference import POISON
from vkprobe.protocol import Climbed, ClimbFeature, FeatureStep
from vkprobe.worker.checks import Check, Input, merge
from vkprobe.worker.matrix_checks import MATRIX_CHECKS
from vkprobe.worker.number_checks import NUMBER_CHECKS
from vkprobe.worker.rates import ratio
from vkprobe.worker.session import Session, current
from vkprobe.worker.subgroup_checks import SUBGROUP_CHECKS
from vkprobe.worker.vk.commands import DescriptorSets, Dispatch
from vkprobe.worker.vk.device import Buffer
from vkprobe.worker.vk.pipeline import BINDINGS, Pipeline

Progress = Callable[[dict[str, Any]], None]

CHECKS: Mapping[str, Check] = {**MATRIX_CHECKS, **NUMBER_CHECKS, **SUBGROUP_CHECKS}
"""By the name that jobs give them."""

_OUTPUT = 2
_TIMEOUT_S = 60.0
_RATE_GROUPS = 512
_RATE_WORDS = 64
_MOST_STEPS = 1 << 15


class _Bench:
    """One step's pipeline on the opened device."""

    def __init__(self, session: Session, step: FeatureStep, ran: Callable[[], None]) -> None:
        self.session, self.step, self._ran = session, step, ran
        self.pipeline: Pipeline = self._pipeline(step.kernel)

    def _pipeline(self, kernel: str) -> Pipeline:
        step = self.step
        return self.session.ladder_pipeline(kernel, step.constants, subgroup_size=step.subgroup_size, full_subgroups=step.full_subgroups)

    def run(self, inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int = 1) -> Input:
        """The output's bytes after one dispatch: `inputs` by binding, what is not written is all ones."""
        sizes = {_OUTPUT: output_bytes, **{binding: data.nbytes for binding, data in inputs.items()}}
        buffers = [Buffer(self.session.device, max(16, -(-sizes.get(i, 0) // 16) * 16), "device") for i in range(BINDINGS)]
        for binding, data in inputs.items():
            self.session.upload(buffers[binding], data)
        self.session.commands.fill(buffers[_OUTPUT], POISON)
        sets = DescriptorSets(self.session.device, self.session.layout(), [[(x, 0, x.size) for x in buffers]])
        commands = self.session.commands.record([Dispatch(self.pipeline, sets, push, (groups, 1, 1))], 1)
        self.session.commands.submit(commands, _TIMEOUT_S)
        output = self.session.download(buffers[_OUTPUT], output_bytes)
        self.session.commands.free(commands)
        sets.destroy()
        for buffer in buffers:
            buffer.destroy()
        self._ran()
        return output

    def ratio(self) -> float | None:
        """Time over the plain kernel's, the two timed in turn; None where there is no plain kernel."""
        if self.step.plain_kernel is None:
            return None
        plain = self._pipeline(self.step.plain_kernel)
        mode = int(self.step.parameters.get("mode", 0))
        local = dict(self.step.constants)[0]
        words = np.full(_RATE_WORDS, 0x3C003C00, np.uint32)  # ones as f16, small numbers as anything else
        buffers = [Buffer(self.session.device, 4 * max(_RATE_WORDS, local * _RATE_GROUPS), "device") for _ in range(BINDINGS)]
        for buffer in buffers:
            self.session.upload(buffer, words)
        sets = DescriptorSets(self.session.device, self.session.layout(), [[(x, 0, x.size) for x in buffers]])

        def recorded(pipeline: Pipeline, steps: int) -> Any:
            return self.session.commands.record([Dispatch(pipeline, sets, (mode, steps), (_RATE_GROUPS, 1, 1))], 1)

        value = ratio(self.session, self.pipeline, plain, recorded, 8, _MOST_STEPS)
        sets.destroy()
        for buffer in buffers:
            buffer.destroy()
        plain.destroy()
        return value


def climb_feature(request: ClimbFeature, progress: Progress) -> Climbed:
    """Climb with one feature; without `execute` it is compiled only."""
    session, steps = current(), request.job.steps
    announced: set[str] = set()

    def ran() -> None:
        if "runs" not in announced:
            announced.add("runs")
            progress({"rung": "runs"})

    benches = [_Bench(session, step, ran) for step in steps]
    progress({"rung": "compiles"})
    facts: dict[str, Any] = {}
    wrong: str | None = None
    ratios: list[float] = []
    if request.execute:
        for bench in benches:
            fault, seen = CHECKS[bench.step.check](bench.run, bench.step.parameters)
            merge(facts, seen)
            if fault is not None and wrong is None:
                wrong = f"{bench.step.what}: {fault}" if bench.step.what else fault
        if wrong is None:
            progress({"rung": "correct"})
            ratios = [ratio for ratio in (bench.ratio() for bench in benches) if ratio is not None]
    for bench in benches:
        bench.pipeline.destroy()
    return Climbed(wrong=wrong, facts=facts, ratio=max(ratios, default=None))
