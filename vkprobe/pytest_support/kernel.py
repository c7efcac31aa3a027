"""The kernels that `vk_kernel` makes: a developer's own shader on the device, or one of vkprobe's cells."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import Struct

from vkprobe import kernels, ops
from vkprobe.cell import Cell
from vkprobe.compiler_statistics import normal
from vkprobe.errors import UsageError
from vkprobe.ops.base import Request
from vkprobe.ops.plan import Plan, in_words, plans
from vkprobe.protocol import (
    BuildShader,
    Compile,
    Compiled,
    DispatchShader,
    Prepare,
    ReadShader,
    Release,
    ReleaseShader,
    Sample,
    ShaderStatistics,
    WriteShader,
)
from vkprobe.pytest_support import pack, spirv
from vkprobe.pytest_support.host import Host
from vkprobe.records import Check
from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.model import Requirement

Array = np.ndarray[Any, Any]
_COPY_TIMEOUT_S = 30.0
_NULL = "a null device compiles and executes nothing: only `statistics` is for it"


class WrongResult(AssertionError):
    """A cell of vkprobe gave a wrong result."""


class Statistics(Struct, frozen=True, kw_only=True):
    """The compiler's statistics of the pipeline; None if the driver has none.

    Attributes:
        registers, spills, instructions, code_bytes (B), occupancy: as records have them.
        subgroup_size: that the driver runs it with.
        compile_s: how long creating the pipeline took.
        raw: every name and value, as the driver gives them.
    """

    registers: int | None = None
    spills: int | None = None
    instructions: int | None = None
    code_bytes: int | None = None
    occupancy: float | None = None
    subgroup_size: int | None = None
    compile_s: float
    raw: dict[str, Any] = {}


class Kernel:
    """Base of both kinds of kernel: where they live, the time of the last dispatch, statistics.

    Attributes:
        name: for messages and `extra_info`.
        gpu_time_s: of one dispatch of the last `run` or `dispatch` (s), by the GPU's timestamps where the device has them.
        clock: `gpu` or `wall`: which clock that was.
    """

    def __init__(self, host: Host, name: str, requirement: Requirement, timeout_s: float) -> None:
        self.name, self._host, self._timeout_s = name, host, timeout_s
        self._number = host.number()
        self._generation = 0
        self._time: tuple[float, str] | None = None
        self._statistics: Statistics | None = None
        gap = evaluate(host.device, requirement)
        if gap.met is False:
            pytest.skip(f"{host.device.device}: {name} {in_words(gap.missing)}")
        host.need(requirement)

    @property
    def gpu_time_s(self) -> float:
        """The time of the last dispatch (s)."""
        if self._time is None:
            raise UsageError(f"{self.name}: not dispatched yet: call run() or dispatch() first")
        return self._time[0]

    @property
    def clock(self) -> str | None:
        """The clock that measured `gpu_time_s`; None before the first dispatch."""
        return None if self._time is None else self._time[1]

    @property
    def statistics(self) -> Statistics:
        """The statistics that the driver's compiler reports; works on null devices."""
        __tracebackhide__ = True
        if self._statistics is None:
            self._statistics = self._normal(self._ask_statistics())
        return self._statistics

    def _ask_statistics(self) -> Compiled:
        raise NotImplementedError

    def _normal(self, reply: Compiled) -> Statistics:
        quantities = msgspec.structs.asdict(normal(self._host.device.driver.id, reply.statistics))
        return Statistics(**quantities, subgroup_size=reply.subgroup_size, compile_s=reply.compile_s, raw=reply.statistics)

    def _executing(self) -> None:
        """Skip on a null device; fail on another that executes nothing."""
        __tracebackhide__ = True
        if self._host.executes:
            return
        if self._host.device.null:
            pytest.skip(f"{self._host.device.device}: {_NULL}")
        raise AssertionError(
            f"{self._host.device.device} executed nothing, though it is no null device (a canary left its buffer untouched)"
        )

    def _timed(self, time_s: float, clock: str) -> None:
        self._time = time_s, clock
        self._host.clock.add(time_s, clock)


class ShaderKernel(Kernel):
    """A compute shader with storage buffers; `bindings` are its inputs, which are never written: results are new arrays."""

    def __init__(
        self,
        host: Host,
        name: str,
        module: bytes,
        *,
        bindings: Sequence[Array] | Mapping[int, Array],
        groups: Any,
        push: Any = None,
        constants: Mapping[int, Any] | None = None,
        subgroup_size: int | None = None,
        full_subgroups: bool = False,
        timeout_s: float = 20.0,
    ) -> None:
        interface = spirv.read(module, name)
        named = dict(bindings) if isinstance(bindings, Mapping) else dict(enumerate(bindings))
        self.bindings: dict[int, Array] = {int(number): np.asarray(array) for number, array in sorted(named.items())}
        missing = sorted(interface.bindings - set(self.bindings))
        if missing:
            raise UsageError(f"{name}: no array for binding {', '.join(map(str, missing))}; given are {sorted(self.bindings) or 'none'}")
        empty = [number for number, array in self.bindings.items() if array.size == 0 or array.dtype.hasobject]
        if empty:
            raise UsageError(f"{name}: the array of binding {empty[0]} is empty or holds objects: no buffer can be made of it")
        self.sha = hashlib.sha256(module).hexdigest()
        self._module = module
        self._push, self._constants = pack.words(push), pack.constants(constants)
        self._groups, self._subgroup_size, self._full = pack.grid(groups), subgroup_size, full_subgroups
        described = kernels.Kernel(
            name=name,
            op="",
            source=name,
            target="vulkan1.3" if interface.version > (1, 5) else "vulkan1.2",
            capabilities=interface.capabilities,
            constants={},
            push=(),
            bindings=(),
            spirv_sha256=self.sha,
        )
        super().__init__(host, name, kernels.requirement(described, subgroup_size=subgroup_size), timeout_s)

    def run(self) -> list[Array]:
        """Upload the inputs, dispatch once, and read every binding back: arrays of the inputs' shapes and types, by binding.

        Raises:
            DriverLost: the driver crashed, hung or lost its device; the next kernel has a new worker.
            KernelFailed: it refused.
        """
        __tracebackhide__ = True
        self._ready()
        self._write()
        self._dispatch(1)
        files = {number: self._host.file(f"{self._number}-{number}") for number in self.bindings}
        named = {number: str(file) for number, file in files.items()}
        self._host.ask(ReadShader(shader=self._number, files=named), f"reading the results of {self.name}", _COPY_TIMEOUT_S)
        results = []
        for number, file in files.items():
            like = self.bindings[number]
            results.append(np.fromfile(file, like.dtype).reshape(like.shape))
            file.unlink()
        return results

    def dispatch(self, repeat: int = 1) -> None:
        """Dispatch on what the buffers hold, `repeat` times in one submit with a memory barrier after each; raises as `run` does."""
        __tracebackhide__ = True
        if self._ready():
            self._write()
        self._dispatch(repeat)

    def _build(self) -> bool:
        """Compile it in the worker that lives now; whether it was not there yet."""
        __tracebackhide__ = True
        if self._host.open() == self._generation:
            return False
        file = self._host.file(f"{self._number}.spv")
        file.write_bytes(self._module)
        sizes = [self.bindings[i].nbytes if i in self.bindings else 16 for i in range(max(self.bindings, default=-1) + 1)]
        build = BuildShader(
            shader=self._number,
            spirv=str(file),
            sizes=sizes,
            push=self._push,
            constants=self._constants,
            subgroup_size=self._subgroup_size,
            full_subgroups=self._full,
        )
        self._host.ask(build, f"compiling {self.name}", 3 * self._timeout_s)
        self._generation = self._host.generation
        return True

    def _ready(self) -> bool:
        __tracebackhide__ = True
        self._host.open()
        self._executing()
        return self._build()

    def _write(self) -> None:
        __tracebackhide__ = True
        files = {}
        for number, array in self.bindings.items():
            files[number] = self._host.file(f"{self._number}-{number}")
            np.ascontiguousarray(array).tofile(files[number])
        named = {number: str(file) for number, file in files.items()}
        self._host.ask(WriteShader(shader=self._number, files=named), f"filling the buffers of {self.name}", _COPY_TIMEOUT_S)
        for file in files.values():
            file.unlink()

    def _dispatch(self, repeat: int) -> None:
        __tracebackhide__ = True
        x, y, z = self._groups
        request = DispatchShader(shader=self._number, groups=(x, y, z), repeat=max(1, int(repeat)), timeout_s=self._timeout_s)
        reply = self._host.ask(request, f"dispatching {self.name}", self._timeout_s + 2.0)
        self._timed(reply.time_s, reply.clock)

    def _ask_statistics(self) -> Compiled:
        __tracebackhide__ = True
        self._build()
        reply: Compiled = self._host.ask(ShaderStatistics(shader=self._number), f"compiling {self.name}", 3 * self._timeout_s)
        return reply

    def release(self) -> None:
        """Give its buffers back; for the fixture."""
        if self._generation and self._generation == self._host.generation and self._host.alive():
            self._host.ask(ReleaseShader(shader=self._number), f"giving back {self.name}", self._timeout_s)


def planned_cell(
    host: Host,
    op: str,
    *,
    type: str,
    shape: Sequence[int],
    path: str | None,
    accumulator: str | None,
    tuple: str | None,
    hot: bool,
) -> Plan:
    """The plan of the one cell that is meant, as `vkprobe run` makes it; raises UsageError if the call means none or several."""
    names = [one.name for one in ops.every() if not one.ceiling]
    if op not in names or len(shape) != 3:
        raise UsageError(f"vk_kernel({op!r}): expected the path of a .spv file, or one of {', '.join(names)} with shape=(M, N, K)")
    offered = ops.find(op)
    request = Request(
        axes=[offered.axes_of(",".join(str(int(n)) for n in shape))],
        types=[type],
        paths=[path] if path else (),
        accumulators=[accumulator or "default"],
        tuples=(tuple or "default",),
        hot=hot,
    )
    chosen = offered.cells(request, host.device)
    if len(chosen) != 1:
        there = ", ".join(dict.fromkeys(c.variant.path or "" for c in chosen)) or "no kernel for these together"
        raise UsageError(f"vk_kernel({op!r}, type={type!r}): one cell is measured at a time: choose path= of {there}")
    return plans(chosen, host.device)[0]


class CellKernel(Kernel):
    """One of vkprobe's own cells, verified as `vkprobe run` does before it reports a time.

    Attributes:
        cell: what it is.
        check: how its output was verified; None before.
    """

    def __init__(self, host: Host, plan: Plan, timeout_s: float = 20.0) -> None:
        self.cell: Cell = plan.cell
        self.check: Check | None = None
        self.sha = plan.kernel.spirv_sha256
        self._plan = plan
        self._dispatches: int | None = None
        if plan.reason is not None:
            pytest.skip(f"{host.device.device}: {plan.words} {plan.reason}")
        super().__init__(host, plan.words, plan.requirement, timeout_s)

    def run(self) -> Check:
        """Verify it in both passes, then dispatch once.

        Raises:
            WrongResult: an output is not what it must be; DriverLost, KernelFailed: as a shader's.
        """
        __tracebackhide__ = True
        self.dispatch()
        assert self.check is not None
        return self.check

    def dispatch(self) -> None:
        """Time a few samples of it and check that their output is the verified one; `gpu_time_s` is their median."""
        __tracebackhide__ = True
        self._prepare()
        request = Sample(
            number=self._number,
            dispatches=self._dispatches,
            least_samples=3,
            least_s=0.0,
            most_s=self._timeout_s,
            settle_s=0.0,
            warm_s=0.0,
            timeout_s=self._timeout_s,
        )
        reply = self._host.ask(request, f"timing {self.name}", 3 * self._timeout_s + 5.0)
        if reply.wrong is not None:
            raise WrongResult(f"{self._host.device.device}: {self.name}: {reply.wrong}")
        self._dispatches = reply.dispatches
        self._timed(float(np.median(reply.samples_s)), reply.clock)

    def _prepare(self) -> None:
        __tracebackhide__ = True
        generation = self._host.open()
        self._executing()
        if generation == self._generation:
            return
        limit = 3 * self._timeout_s
        request = Prepare(number=self._number, program=self._plan.program, timeout_s=limit)
        reply = self._host.ask(request, f"verifying {self.name}", 10 * limit)
        self._generation, self._dispatches = generation, None
        self.check = reply.check
        if reply.wrong is not None:
            raise WrongResult(f"{self._host.device.device}: {self.name}: {reply.wrong}")

    def _ask_statistics(self) -> Compiled:
        __tracebackhide__ = True
        self._host.open()
        assert self._plan.program.first is not None
        reply: Compiled = self._host.ask(Compile(stage=self._plan.program.first), f"compiling {self.name}", 3 * self._timeout_s)
        return reply

    def release(self) -> None:
        """Give its buffers back; for the fixture."""
        if self._generation and self._generation == self._host.generation and self._host.alive():
            self._host.ask(Release(number=self._number), f"giving back {self.name}", self._timeout_s)


def make_kernel(host: Host, what: str | Path | bytes, **options: Any) -> ShaderKernel | CellKernel:
    """The kernel that a `vk_kernel` call means.

    Raises:
        UsageError: it means none.
    """
    if isinstance(what, bytes):
        return ShaderKernel(host, options.pop("name", "shader"), what, **options)
    path = Path(what)
    if path.suffix == ".spv" or isinstance(what, Path):
        try:
            module = path.read_bytes()
        except OSError as error:
            raise UsageError(f"{path}: can't be read: {error.strerror}") from None
        return ShaderKernel(host, options.pop("name", path.name), module, **options)
    timeout = options.pop("timeout_s", 20.0)
    defaults = {"type": None, "shape": None, "path": None, "accumulator": None, "tuple": None, "hot": False}
    unknown = set(options) - set(defaults)
    if unknown or "type" not in options or "shape" not in options:
        raise UsageError(f"vk_kernel({what!r}): takes type= and shape=(M, N, K), and path=, accumulator=, tuple=, hot=, timeout_s=")
    return CellKernel(host, planned_cell(host, str(what), **{**defaults, **options}), timeout)
