"""Drivers for tests: the embedded set, and libraries that are no good."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from vkprobe import ops
from vkprobe.cell import Cell
from vkprobe.drivers import embedded as embedded_set
from vkprobe.drivers.clibrary import LIBRARIES
from vkprobe.drivers.launch import Worker
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerFailed, WorkerLost
from vkprobe.facts import gather
from vkprobe.ops.base import Request
from vkprobe.ops.plan import Plan, finished, target
from vkprobe.program import Dispatch, Program
from vkprobe.protocol import Open, Opened, Prepare, Prepared, Release
from vkprobe.records import AnyRecord, DeviceRecord, EventRecord, ResultRecord
from vkprobe.results.provenance import run_record
from vkprobe.session.campaign import measure
from vkprobe.session.policy import Policy

BadDriver = Callable[[str, str], Path]
"""(name, C source) -> path of a manifest whose library was built from it."""


@pytest.fixture(autouse=True, scope="session")
def _interrupts_are_heard() -> None:
    """A shell's background jobs inherit that SIGINT is ignored, and so would the commands that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def embedded() -> dict[str, DriverSpec]:
    """The embedded set's drivers by name without prefix (`lvp`, `radeon`, ...)."""
    if not embedded_set.fetched():
        pytest.skip("the embedded driver set is not there: run `vkprobe drivers fetch`")
    return {spec.name.partition(":")[2]: spec for spec in embedded_set.drivers()}


@pytest.fixture(scope="session")
def intel_shim() -> Path:
    """Intel's shim library."""
    shim = os.environ.get("VKPROBE_INTEL_SHIM")
    if not shim:
        pytest.skip("VKPROBE_INTEL_SHIM is not set: run `make intel-shim` and set it to the library")
    return Path(shim)


@pytest.fixture
def bad_driver(tmp_path: Path) -> BadDriver:
    """Build a driver library from C and write a manifest for it."""
    if shutil.which("gcc") is None:
        pytest.skip("broken drivers are built with a C compiler: run `apt-get install gcc`")

    def build(name: str, source: str) -> Path:
        library, manifest = tmp_path / f"lib{name}.so", tmp_path / f"{name}_icd.json"
        subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", str(library), "-ldl"], input=source, text=True, check=True)
        body = {"file_format_version": "1.0.1", "ICD": {"library_path": str(library), "api_version": "1.3.0"}}
        manifest.write_text(json.dumps(body))
        return manifest

    return build


WRAPPER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
typedef void (*Function)(void);
static Function (*real)(void *, const char *), (*real_device)(void *, const char *), (*real_physical)(void *, const char *);
static int (*real_negotiate)(unsigned *), (*real_submit)(void *, unsigned, const void *, void *);
static int (*real_results)(void *, void *, unsigned, unsigned, size_t, void *, unsigned long, unsigned);
static int submits;

static int is(const char *fault) { return !strcmp(getenv("FAULT"), fault); }
static int due(void) {
  if (submits++ < atoi(getenv("FAULT_AFTER"))) return 0;
  const char *once = getenv("FAULT_ONCE");
  return !once || open(once, O_CREAT | O_EXCL, 0600) >= 0;
}
static int submit(void *queue, unsigned count, const void *infos, void *fence) {
  if (!is("still") && due()) {
    if (is("hang")) for (;;) pause();
    if (is("crash")) raise(SIGSEGV);
    if (is("lost")) return -4;
    if (is("unsignalled")) return 0;
    return real_submit(queue, 0, 0, fence);
  }
  return real_submit(queue, count, infos, fence);
}
static int results(void *d, void *pool, unsigned first, unsigned count, size_t size, void *data, unsigned long stride, unsigned flags) {
  int result = real_results(d, pool, first, count, size, data, stride, flags);
  if (is("still")) memset(data, 0, size);
  return result;
}
static Function device(void *d, const char *name) {
  Function function = real_device(d, name);
  if (!strcmp(name, "vkQueueSubmit")) { real_submit = (void *)function; return (Function)submit; }
  if (!strcmp(name, "vkGetQueryPoolResults")) { real_results = (void *)function; return (Function)results; }
  return function;
}
__attribute__((constructor)) static void begin(void) {
  void *library = dlopen(getenv("FAULT_IN"), RTLD_NOW);
  real = (void *)dlsym(library, "vk_icdGetInstanceProcAddr");
  real_physical = (void *)dlsym(library, "vk_icdGetPhysicalDeviceProcAddr");
  real_negotiate = (void *)dlsym(library, "vk_icdNegotiateLoaderICDInterfaceVersion");
}
int vk_icdNegotiateLoaderICDInterfaceVersion(unsigned *version) { return real_negotiate(version); }
Function vk_icdGetPhysicalDeviceProcAddr(void *i, const char *name) { return real_physical(i, name); }
Function vk_icdGetInstanceProcAddr(void *i, const char *name) {
  Function function = real(i, name);
  if (!strcmp(name, "vkGetDeviceProcAddr")) { real_device = (void *)function; return (Function)device; }
  return function;
}
"""

FaultyLavapipe = Callable[..., DriverSpec]
"""(fault, after=submits, once=bool) -> lavapipe behind a driver that fails so: hang, crash, lost, unsignalled, nothing, still."""


@pytest.fixture
def faulty_lavapipe(embedded: dict[str, DriverSpec], bad_driver: BadDriver, tmp_path: Path) -> FaultyLavapipe:
    """A real driver that goes bad: after so many submits, in each worker or in the first one only."""
    lavapipe = embedded["lvp"]
    assert lavapipe.icd is not None
    library = json.loads(Path(lavapipe.icd).read_text())["ICD"]["library_path"]
    manifest = bad_driver("faulty", WRAPPER)

    def make(fault: str, *, after: int = 3, once: bool = False) -> DriverSpec:
        path = (Path(lavapipe.icd or "").parent / library).resolve() if "/" in library else Path(str(lavapipe.root)) / LIBRARIES / library
        environment = {"FAULT": fault, "FAULT_AFTER": str(after), "FAULT_IN": str(path)}
        if once:
            environment["FAULT_ONCE"] = str(tmp_path / "happened")
        return replace(lavapipe, name="faulty", icd=str(manifest), environment={**lavapipe.environment, **environment})

    return make


PATIENCE_S = 300.0
"""Limit of requests that have to succeed: only a hang takes so long, however busy the machine is."""


class SharedWorker:
    """A device open in one worker for all tests of a file; a test that costs the worker leaves a fresh one to the next."""

    def __init__(self, spec: DriverSpec, request: Open) -> None:
        self._spec, self._request = spec, request
        self._worker: Worker | None = None
        self._number = 0

    def _living(self) -> Worker:
        if self._worker is None:
            self._worker = Worker(self._spec)
            opened: Opened = self._worker.request(self._request, timeout=PATIENCE_S)
            assert opened.executes
        return self._worker

    def verify(self, program: Program, submit_s: float = PATIENCE_S) -> Prepared:
        """The verdict on a program. `submit_s` (s) limits each submit; a driver may compile in the first one."""
        self._number += 1
        worker = self._living()
        try:
            reply: Prepared = worker.request(Prepare(number=self._number, program=program, timeout_s=submit_s), timeout=4 * PATIENCE_S)
            worker.request(Release(number=self._number), timeout=PATIENCE_S)
        except (WorkerFailed, WorkerLost):
            self.close()
            raise
        return reply

    def close(self) -> None:
        """End the worker at once: a submit of it may still run."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def __enter__(self) -> SharedWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def first(program: Program) -> Dispatch:
    """The kernel that a program dispatches first."""
    assert program.first is not None
    return program.first


def doctored(program: Program, **changes: Any) -> Program:
    """The program with other fields in its first dispatch; `constants` are added to the dispatch's own."""
    stage = first(program)
    if "constants" in changes:
        assert set(changes["constants"]) <= set(stage.constants)
        changes["constants"] = {**stage.constants, **changes["constants"]}
    return replace(program, stages=(replace(stage, **changes), *program.stages[1:]))


def selected(device: DeviceRecord, op: str, *shapes: tuple[int, int, int], **chosen: Any) -> list[Cell]:
    """The cells that `vkprobe OP --shape M,N,K ...` selects on a device; `chosen` are further fields of the request."""
    operation = ops.find(op)
    return operation.cells(Request(axes=[operation.axes_of(",".join(map(str, shape))) for shape in shapes], **chosen), device)


def with_cores(cell: Cell, device: DeviceRecord, cores: int) -> Plan:
    """The plan of a cell on the device if it reported so many shader cores."""
    facts = target(device)
    facts = replace(facts, limits=replace(facts.limits, cores=cores))
    return finished(ops.find(cell.op).plan(cell, facts), facts, dispatched=True)


class Measured:
    """The records of measuring some cells, in order."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []

    def step(self, device: str, what: str, done: int, total: int) -> None:
        """Progress, which tests of records ignore."""

    @property
    def results(self) -> list[ResultRecord]:
        """Cells as they ended."""
        return [r for r in self.records if isinstance(r, ResultRecord)]

    @property
    def events(self) -> list[EventRecord]:
        """Losses and restarts of workers."""
        return [r for r in self.records if isinstance(r, EventRecord)]

    @property
    def statuses(self) -> list[str]:
        """Statuses of the cells, in the order of their records."""
        return [r.status for r in self.results]


BRIEF = Policy(
    least_rounds=2,
    most_rounds=2,
    least_samples=2,
    least_s=0.01,
    settle_s=0.02,
    warm_s=0.0,
    gap_s=0.0,
    time_limit_s=100.0,
    compile_limit_s=300.0,
)
"""Measuring as short as it gets, for tests of what is recorded."""


def measured(spec: DriverSpec, cells_of: Callable[[DeviceRecord], Sequence[Cell]], policy: Policy = BRIEF) -> Measured:
    """Measure cells on a driver's devices."""
    outcome = Measured()
    facts = gather([spec], "run")
    assert [d.state for d in facts.drivers] == ["ok"], facts.drivers
    measure(facts, cells_of=cells_of, policy_of=lambda device: policy, run=run_record(), sink=outcome.records.append, progress=outcome)
    return outcome


def gemvs(*columns: int, weight_type: str = "f16", m: int = 64, k: int = 64) -> Callable[[DeviceRecord], Sequence[Cell]]:
    """Small GEMV cells, one for each N."""
    shapes = [(m, n, k) for n in columns]
    return lambda device: selected(device, "gemv", *shapes, types=[weight_type])
