"""The ladder on real drivers: lavapipe climbs to the top, null devices compile, and what goes wrong is reported at the right rung."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import BRIEF, BadDriver, Measured
from tests.drivers.test_null_compile import null
from vkprobe.drivers.clibrary import LIBRARIES
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.protocol import FeatureJob, FeatureStep
from vkprobe.records import DeviceRecord, LadderRecord
from vkprobe.session import ladder
from vkprobe.session.campaign import exit_status
from vkprobe.session.ladder import Climb, LadderRun, tuple_climbs
from vkprobe.session.ladder_features import feature_climbs

NV = "VkPhysicalDeviceCooperativeMatrix2FeaturesNV"
REDUCTIONS = f"{NV}.cooperativeMatrixReductions"

KNOWN_DEFECTS = {f"{REDUCTIONS} beyond one granule": "subgroup scope, 16x24 f16: the sum of each row: 192 of 384 elements differ"}
"""lavapipe of Mesa 26.1 and 26.2 sums rows wrong in all but the first part of a matrix that it splits along both axes."""


def climbed(spec: DriverSpec, choose: Callable[[DeviceRecord], Sequence[Climb]]) -> tuple[list[LadderRecord], Measured]:
    """The records of some climbs on a driver's device."""
    outcome = Measured()
    (device,) = gather([spec], "run").devices
    LadderRun(spec, device, choose(device), run="run", policy=BRIEF, sink=outcome.records.append, progress=outcome).climb()
    return [r for r in outcome.records if isinstance(r, LadderRecord)], outcome


def these(*features: str) -> Callable[[DeviceRecord], Sequence[Climb]]:
    """The climbs with these features, in this order."""

    def choose(device: DeviceRecord) -> Sequence[Climb]:
        climbs = {c.feature: c for c in feature_climbs(device)}
        return [climbs[feature] for feature in features]

    return choose


@pytest.fixture(scope="module")
def on_lavapipe(embedded: dict[str, DriverSpec]) -> dict[str, LadderRecord]:
    """Every feature of lavapipe, climbed with once."""
    records, outcome = climbed(embedded["lvp"], feature_climbs)
    assert outcome.events == []
    return {r.feature or "": r for r in records}


def test_lavapipe_s_features_end_correct(on_lavapipe: dict[str, LadderRecord]) -> None:
    """Every enabled feature is correct but for the known defects; the others are advertised only, and the reason names the bit."""
    for name, record in on_lavapipe.items():
        if record.status == "unsupported":
            assert (record.rung, record.reason) == ("advertised", f"{name} is off")
        elif record.status == "wrong":
            assert record.rung == "runs"
            assert (record.reason or "").startswith(KNOWN_DEFECTS[name])
        else:
            assert (record.rung in ("correct", "faster"), record.status) == (True, "ok"), record
    assert sum(r.status == "ok" for r in on_lavapipe.values()) >= 31
    assert on_lavapipe[REDUCTIONS].rung == "correct"


def test_lavapipe_s_facts_are_recorded(on_lavapipe: dict[str, LadderRecord]) -> None:
    """Rounding, the subgroup size that shaders saw, the ratio to plain arithmetic."""
    assert on_lavapipe[f"{NV}.cooperativeMatrixConversions"].facts == {"rounding": "to nearest even"}
    assert on_lavapipe["subgroupAdd at 8"].facts == {"subgroup_size": 8}
    half = on_lavapipe["VkPhysicalDeviceShaderFloat16Int8Features.shaderFloat16"]
    assert half.facts["rounding"] == "to nearest even"
    dot = on_lavapipe["VkPhysicalDeviceShaderIntegerDotProductFeatures.shaderIntegerDotProduct 4x8BitPackedSigned"]
    assert dot.facts == {"accelerated": False}
    assert dot.ratio is not None
    assert 0.3 < dot.ratio < 3
    flexible = on_lavapipe[f"{NV}.cooperativeMatrixFlexibleDimensions"]
    assert flexible.facts["accumulator_bits"] == 24


def steps(climb: Climb) -> list[FeatureStep]:
    """The steps of a feature's climb."""
    assert isinstance(climb.job, FeatureJob)
    return climb.job.steps


def doctored(climb: Climb, index: int = 0, **changes: Any) -> Climb:
    """A climb with other fields in one step."""
    changed = steps(climb).copy()
    changed[index] = replace(changed[index], **changes)
    return replace(climb, job=FeatureJob(steps=changed))


def test_a_wrong_kernel_is_wrong_at_runs(embedded: dict[str, DriverSpec]) -> None:
    """A maximum in place of a sum, reductions in place of per-element operations: the reason shows the difference, the rung is runs."""

    def choose(device: DeviceRecord) -> Sequence[Climb]:
        climbs = {c.feature: c for c in feature_climbs(device)}
        elements = climbs[f"{NV}.cooperativeMatrixPerElementOperations"]
        return [
            doctored(climbs["subgroupAdd at 8"], kernel="ladder_subgroup_max"),
            doctored(elements, 1, kernel="ladder_reduce_f32_subgroup"),
            climbs["subgroupAll at 8"],
        ]

    (add, element, right), outcome = climbed(embedded["lvp"], choose)
    assert (add.rung, add.status) == ("runs", "wrong")
    assert "all invocations active: 8 of 8 invocations of subgroup 0 differ, the first in lane 0: " in (add.reason or "")
    assert (element.rung, element.status) == ("runs", "wrong")
    assert (element.reason or "").startswith("subgroup scope, 8x8 f32: ")
    assert "elements differ, the first at m=" in (element.reason or "")
    assert (right.rung, right.status) == ("correct", "ok")
    assert outcome.events == []
    assert exit_status([add, element, right], frozenset()) == 3


def test_a_wrong_expectation_is_wrong_at_runs(embedded: dict[str, DriverSpec]) -> None:
    """A matrix half as wide as the kernel's, a subgroup size that the device does not have."""

    def choose(device: DeviceRecord) -> Sequence[Climb]:
        climbs = {c.feature: c for c in feature_climbs(device)}
        conversions = climbs[f"{NV}.cooperativeMatrixConversions"]
        parameters = steps(conversions)[0].parameters
        size = steps(climbs["subgroupMax at 8"])[0].parameters
        return [
            doctored(conversions, parameters={**parameters, "n": 4}),
            doctored(climbs["subgroupMax at 8"], parameters={**size, "size": 16}),
        ]

    (narrow, size), _ = climbed(embedded["lvp"], choose)
    assert (narrow.rung, narrow.status) == ("runs", "wrong")
    assert "to use A" in (narrow.reason or "") or "to use B" in (narrow.reason or "")
    assert (size.rung, size.status, size.reason) == ("runs", "wrong", "the subgroup size is 8, 16 was required")


@pytest.mark.parametrize("name", ["nvk:172", "radv:gfx1201", "radv:vega20", "turnip:750", "anv:bmg"])
def test_null_devices_compile_all_that_they_advertise(name: str, embedded: dict[str, DriverSpec]) -> None:
    """Tuples and features: noop at compiles, or unsupported where a feature is off."""
    records, outcome = climbed(null(name), lambda device: [*tuple_climbs(device), *feature_climbs(device)])
    assert outcome.events == []
    assert {(r.rung, r.status) for r in records} <= {("compiles", "noop"), ("advertised", "unsupported")}
    assert sum(r.status == "noop" for r in records) >= 20
    assert exit_status(records, frozenset({f"{name}/0"})) == 0


PIPELINES = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
typedef void (*Function)(void);
static Function (*real)(void *, const char *), (*real_device)(void *, const char *), (*real_physical)(void *, const char *);
static int (*real_negotiate)(unsigned *);
static int (*real_create)(void *, void *, unsigned, const void *, const void *, void *);
static int created;

static int create(void *d, void *cache, unsigned count, const void *infos, const void *allocator, void *pipelines) {
  const char *fault = getenv("FAULT");
  if (created++ == 1 && open(getenv("FAULT_ONCE"), O_CREAT | O_EXCL, 0600) >= 0) {
    if (!strcmp(fault, "crash")) raise(SIGSEGV);
    if (!strcmp(fault, "hang")) for (;;) pause();
    return -13;
  }
  return real_create(d, cache, count, infos, allocator, pipelines);
}
static Function device(void *d, const char *name) {
  Function function = real_device(d, name);
  if (!strcmp(name, "vkCreateComputePipelines")) { real_create = (void *)function; return (Function)create; }
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
"""lavapipe, but the second pipeline of a worker (the first is the canary's) goes wrong, once."""


@pytest.mark.parametrize(
    ("fault", "status", "reason", "events"),
    [
        ("crash", "crash", "SIGSEGV", ["crash", "restart"]),
        ("hang", "timeout", "", ["timeout", "restart"]),
        ("fail", "error", "vkCreateComputePipelines gave VK_ERROR_UNKNOWN", []),
    ],
)
def test_a_pipeline_that_can_t_be_created_ends_at_queried(
    embedded: dict[str, DriverSpec],
    bad_driver: BadDriver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    status: str,
    reason: str,
    events: list[str],
) -> None:
    """It costs that row only: the next ones are climbed with in the next worker."""
    monkeypatch.setattr(ladder, "_RUN_S", 2.0)
    lavapipe = embedded["lvp"]
    library = json.loads(Path(str(lavapipe.icd)).read_text())["ICD"]["library_path"]
    path = (Path(str(lavapipe.icd)).parent / library).resolve() if "/" in library else Path(str(lavapipe.root)) / LIBRARIES / library
    environment = {"FAULT": fault, "FAULT_IN": str(path), "FAULT_ONCE": str(tmp_path / "happened")}
    manifest = bad_driver("pipelines", PIPELINES)
    spec = replace(lavapipe, name="faulty", icd=str(manifest), environment={**lavapipe.environment, **environment})
    policy = replace(BRIEF, compile_limit_s=2.0)
    outcome = Measured()
    (device,) = gather([spec], "run").devices
    climbs = these("subgroupAdd at 8", "subgroupMax at 8", "subgroupAny at 8")(device)
    LadderRun(spec, device, climbs, run="run", policy=policy, sink=outcome.records.append, progress=outcome).climb()
    lost, *others = (r for r in outcome.records if isinstance(r, LadderRecord))
    assert (lost.feature, lost.rung, lost.status) == ("subgroupAdd at 8", "queried", status)
    assert reason in (lost.reason or "")
    assert [(r.rung, r.status) for r in others] == [("correct", "ok")] * 2
    assert [e.what for e in outcome.events] == events
    assert all(e.where == "ladder subgroupAdd at 8" for e in outcome.events if e.what != "restart")


IOCTL = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
int ioctl(int fd, unsigned long request, ...) {
  static int (*real)(int, unsigned long, void *);
  va_list rest;
  va_start(rest, request);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  if (!real) real = dlsym(RTLD_NEXT, "ioctl");
  if ((request >> 8 & 0xFF) == 'd' && (request & 0xFF) == 0x52) { errno = ENODEV; return -1; }
  return real(fd, request, argument);
}
"""
"""DRM_NOUVEAU_EXEC fails; all else goes on to the shim."""


def test_a_failing_ioctl_ends_at_queried(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """NVK's submits fail on a null device: nothing compiled, the device is lost, after three losses the rest is skipped."""
    spec = null("nvk:172")
    preload = tmp_path / "libioctl.so"
    if os.system("command -v gcc >/dev/null") != 0:
        pytest.skip("the preload is built with a C compiler: run `apt-get install gcc`")
    command = ["gcc", "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", str(preload), "-ldl"]
    subprocess.run(command, input=IOCTL, text=True, check=True)
    spec = replace(spec, preload=(str(preload), *spec.preload))
    names = [f"subgroup{name} at 32" for name in ("Add", "Max", "All", "Any")]
    records, outcome = climbed(spec, these(*names))
    assert [(r.rung, r.status) for r in records] == [*[("queried", "device-lost")] * 3, ("queried", "skipped")]
    assert "VK_ERROR_DEVICE_LOST" in (records[0].reason or "")
    assert [e.what for e in outcome.events if e.what != "restart"] == ["device-lost"] * 3
