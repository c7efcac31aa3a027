"""`gpu_benchmark` on top of pytest-benchmark: its fixture with a clock that only dispatches advance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vkprobe.pytest_support.host import GpuClock

ROUNDS, WARMUP_ROUNDS = 30, 5


class GpuBenchmark:
    """pytest-benchmark's `benchmark`, timed by the GPU, always in its pedantic mode: calibration waits for a clock that stands still.

    What is measured is a kernel (its `dispatch`), or a function that dispatches kernels; other attributes are pytest-benchmark's.
    """

    def __init__(self, benchmark: Any, clock: GpuClock, identity: Callable[[], dict[str, Any]]) -> None:
        self.benchmark = benchmark
        self._clock, self._identity = clock, identity

    def __getattr__(self, name: str) -> Any:
        return getattr(self.benchmark, name)

    def __call__(self, target: Any, *args: Any, rounds: int = ROUNDS, warmup_rounds: int = WARMUP_ROUNDS, **kwargs: Any) -> Any:
        """Measure `target(*args, **kwargs)`, one call a round; what the last call returned."""
        __tracebackhide__ = True
        return self.pedantic(target, args=args, kwargs=kwargs, rounds=rounds, warmup_rounds=warmup_rounds)

    def pedantic(self, target: Any, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        """Like pytest-benchmark's `pedantic`, but also takes a kernel.

        Raises:
            RuntimeError: the target dispatched nothing.
        """
        __tracebackhide__ = True
        before = self._clock.dispatches
        function = getattr(target, "dispatch", target)
        result = self.benchmark.pedantic(function, args=args, kwargs=kwargs, **{"iterations": 1, **options})
        if self._clock.dispatches == before:
            self.benchmark.has_error = True
            raise RuntimeError("gpu_benchmark: no kernel of vk_kernel was dispatched, so that there is no GPU time to report")
        self.benchmark.extra_info.update(self._identity(), clock=self._clock.kind)
        for name in ("sha", "name"):
            if isinstance(value := getattr(target, name, None), str):
                self.benchmark.extra_info[{"sha": "spirv_sha", "name": "kernel"}[name]] = value
        return result


class WithBenchmark:
    """The fixtures where pytest-benchmark is loaded."""

    @pytest.fixture
    def _gpu_clock(self, request: pytest.FixtureRequest, vk_host: Any) -> GpuClock:
        """The session's clock, made this test's timer before `benchmark` looks for one."""
        clock: GpuClock = vk_host.clock
        own = request.node.get_closest_marker("benchmark")
        request.node.add_marker(pytest.mark.benchmark(**{**(own.kwargs if own else {}), "timer": clock}), append=False)
        return clock

    @pytest.fixture
    def gpu_benchmark(self, _gpu_clock: GpuClock, benchmark: Any, vk_driver: Any, vk_device: Any) -> GpuBenchmark:
        """pytest-benchmark's `benchmark`, timed by the GPU: gpu_benchmark(kernel), or of a function that dispatches kernels."""
        return GpuBenchmark(benchmark, _gpu_clock, lambda: vk_driver.device_info(vk_device))


class WithoutBenchmark:
    """The fixture where it isn't."""

    @pytest.fixture
    def gpu_benchmark(self) -> None:
        """Says what is missing."""
        pytest.fail(
            "gpu_benchmark needs pytest-benchmark: pip install '.[pytest]' in a checkout of vkprobe, and no -p no:benchmark", pytrace=False
        )
