"""What `vk_kernel` makes: a developer's own shader on the device, or one of vkprobe's cells."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import Struct

from vkprobe import kernels
from vkprobe.bench.cells import OPS, Cell, Selection, Shape, cells
from vkprobe.bench.pipelines import normal
from vkprobe.bench.resolve import Resolved, in_words, resolve
from vkprobe.errors import UsageError
from vkprobe.pytest_support import pack, spirv
from vkprobe.pytest_support.host import Host
from vkprobe.records import Check
from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.model import Requirement

Array = np.ndarray[Any, Any]
_COPY_TIMEOUT_S = 30.0
_NULL = "a null device compiles and executes nothing: only `statistics` is for it"


class WrongResult(AssertionError):
    """A cell of vkprobe whose output is not what it must be."""


class Statistics(Struct, frozen=True, kw_only=True):
    """What the driver's compiler tells of the pipeline; None where it tells nothing.

    Attributes:
        registers, spills, instructions, code_bytes (B), occupancy: as records have them.
        subgroup_size: what the driver runs it with.
        compile_s: what creating the pipeline took.
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
    """What both kinds share: where they live, the time of the last dispatch, statistics.

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
        """Of one dispatch, the last one (s)."""
        if self._time is None:
            raise UsageError(f"{self.name}: not dispatched yet: call run() or dispatch() first")
        return self._time[0]

    @property
    def clock(self) -> str | None:
        """Which clock `gpu_time_s` is of; None before the first dispatch."""
        return None if self._time is None else self._time[1]

    @property
    def statistics(self) -> Statistics:
        """What the driver's compiler tells; works on null devices."""
        __tracebackhide__ = True
        if self._statistics is None:
            self._statistics = self._told(self._ask_statistics())
        return self._statistics

    def _ask_statistics(self) -> dict[str, Any]:
        raise NotImplementedError

    def _told(self, reply: Mapping[str, Any]) -> Statistics:
        quantities = msgspec.structs.asdict(normal(self._host.device.driver.id, reply["statistics"]))
        return Statistics(**quantities, subgroup_size=reply["subgroup_size"], compile_s=reply["compile_s"], raw=dict(reply["statistics"]))

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
        told = spirv.read(module, name)
        named = dict(bindings) if isinstance(bindings, Mapping) else dict(enumerate(bindings))
        self.bindings: dict[int, Array] = {int(number): np.asarray(array) for number, array in sorted(named.items())}
        missing = sorted(told.bindings - set(self.bindings))
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
            target="vulkan1.3" if told.version > (1, 5) else "vulkan1.2",
            capabilities=told.capabilities,
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
        self._ask("read_shader", "reading the results of", _COPY_TIMEOUT_S, files={str(n): str(f) for n, f in files.items()})
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

    def _ask(self, verb: str, doing: str, timeout: float, **arguments: Any) -> Any:
        __tracebackhide__ = True
        return self._host.ask(verb, f"{doing} {self.name}", timeout, shader=self._number, **arguments)

    def _build(self) -> bool:
        """Compile it in the worker that lives now; whether it was not there yet."""
        __tracebackhide__ = True
        if self._host.open() == self._generation:
            return False
        file = self._host.file(f"{self._number}.spv")
        file.write_bytes(self._module)
        sizes = [self.bindings[i].nbytes if i in self.bindings else 16 for i in range(max(self.bindings, default=-1) + 1)]
        self._ask(
            "build_shader",
            "compiling",
            3 * self._timeout_s,
            spirv=str(file),
            sizes=sizes,
            push=self._push,
            constants=self._constants,
            subgroup_size=self._subgroup_size,
            full_subgroups=self._full,
        )
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
        self._ask("write_shader", "filling the buffers of", _COPY_TIMEOUT_S, files={str(n): str(f) for n, f in files.items()})
        for file in files.values():
            file.unlink()

    def _dispatch(self, repeat: int) -> None:
        __tracebackhide__ = True
        reply = self._ask(
            "dispatch_shader",
            "dispatching",
            self._timeout_s + 2.0,
            groups=self._groups,
            repeat=max(1, int(repeat)),
            timeout_s=self._timeout_s,
        )
        self._timed(reply["time_s"], reply["clock"])

    def _ask_statistics(self) -> dict[str, Any]:
        __tracebackhide__ = True
        self._build()
        reply: dict[str, Any] = self._ask("shader_statistics", "compiling", 3 * self._timeout_s)
        return reply

    def release(self) -> None:
        """Give its buffers back; for the fixture."""
        if self._generation and self._generation == self._host.generation and self._host.alive():
            self._ask("release_shader", "giving back", self._timeout_s)


def resolved_cell(
    host: Host,
    op: str,
    *,
    type: str,
    shape: Sequence[int],
    path: str | None,
    accumulator: str | None,
    tuple: str | None,
    hot: bool,
) -> Resolved:
    """The one cell that is meant, with all choices made as `vkprobe run` makes them; raises UsageError where it is none or several."""
    if op not in OPS or len(shape) != 3:
        raise UsageError(f"vk_kernel({op!r}): expected the path of a .spv file, or one of {', '.join(OPS)} with shape=(M, N, K)")
    selection = Selection(
        op=op,
        shapes=[Shape(*map(int, shape))],
        types=[type],
        paths=[path] if path else (),
        accumulators=[accumulator or "default"],
        tuples=(tuple or "default",),
        hot=hot,
    )
    found = list(cells(selection, host.device))
    if len(found) != 1:
        there = ", ".join(dict.fromkeys(c.path for c in found)) or "no kernel for these together"
        raise UsageError(f"vk_kernel({op!r}, type={type!r}): one cell is measured at a time: choose path= of {there}")
    return resolve(found, host.device)[0]


class CellKernel(Kernel):
    """One of vkprobe's own cells, verified as `vkprobe run` does before its first time is told.

    Attributes:
        cell: what it is.
        check: how its output was verified; None before.
    """

    def __init__(self, host: Host, resolved: Resolved, timeout_s: float = 20.0) -> None:
        self.cell: Cell = resolved.cell
        self.check: Check | None = None
        self.sha = resolved.kernel.spirv_sha256
        self._resolved = resolved
        self._dispatches: int | None = None
        if resolved.reason is not None:
            pytest.skip(f"{host.device.device}: {resolved.cell} {resolved.reason}")
        super().__init__(host, str(resolved.cell), resolved.requirement, timeout_s)

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
        reply = self._host.ask(
            "sample",
            f"timing {self.name}",
            3 * self._timeout_s + 5.0,
            cell=self._number,
            dispatches=self._dispatches,
            least_samples=3,
            least_s=0.0,
            most_s=self._timeout_s,
            settle_s=0.0,
            warm_s=0.0,
            timeout_s=self._timeout_s,
        )
        if reply["wrong"] is not None:
            raise WrongResult(f"{self._host.device.device}: {self.name}: {reply['wrong']}")
        self._dispatches = reply["dispatches"]
        self._timed(float(np.median(reply["samples_s"])), reply["clock"])

    def _prepare(self) -> None:
        __tracebackhide__ = True
        generation = self._host.open()
        self._executing()
        if generation == self._generation:
            return
        job, limit = msgspec.to_builtins(self._resolved.job), 3 * self._timeout_s
        reply = self._host.ask("prepare", f"verifying {self.name}", 10 * limit, cell=self._number, job=job, timeout_s=limit)
        self._generation, self._dispatches = generation, None
        self.check = msgspec.convert(reply["check"], Check)
        if reply["wrong"] is not None:
            raise WrongResult(f"{self._host.device.device}: {self.name}: {reply['wrong']}")

    def _ask_statistics(self) -> dict[str, Any]:
        __tracebackhide__ = True
        self._host.open()
        job = msgspec.to_builtins(self._resolved.job)
        reply: dict[str, Any] = self._host.ask("compile", f"compiling {self.name}", 3 * self._timeout_s, job=job)
        return reply

    def release(self) -> None:
        """Give its buffers back; for the fixture."""
        if self._generation and self._generation == self._host.generation and self._host.alive():
            self._host.ask("release", f"giving back {self.name}", self._timeout_s, cell=self._number)


def made(host: Host, what: str | Path | bytes, **options: Any) -> ShaderKernel | CellKernel:
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
    known = {"type": None, "shape": None, "path": None, "accumulator": None, "tuple": None, "hot": False}
    unknown = set(options) - set(known)
    if unknown or "type" not in options or "shape" not in options:
        raise UsageError(f"vk_kernel({what!r}): takes type= and shape=(M, N, K), and path=, accumulator=, tuple=, hot=, timeout_s=")
    return CellKernel(host, resolved_cell(host, str(what), **{**known, **options}), timeout)
