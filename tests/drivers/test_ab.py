"""`vkprobe ab` on real drivers: a planted slowdown is found and named, every cell has a verdict, null devices compile."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.conftest import BadDriver, FaultyLavapipe
from vkprobe.drivers import embedded as embedded_set
from vkprobe.drivers.clibrary import LIBRARIES
from vkprobe.drivers.spec import DriverSpec
from vkprobe.results.store import Store

SLOW = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
typedef void (*Function)(void);
static Function (*real)(void *, const char *), (*real_device)(void *, const char *), (*real_physical)(void *, const char *);
static int (*real_negotiate)(unsigned *);
static void (*real_push)(void *, void *, unsigned, unsigned, unsigned, const void *);
static void (*real_dispatch)(void *, unsigned, unsigned, unsigned);
static int (*real_begin)(void *, const void *), (*real_submit)(void *, unsigned, const void *, void *);
static int (*real_results)(void *, void *, unsigned, unsigned, size_t, void *, unsigned long, unsigned);
static unsigned columns;
static struct { void *commands; unsigned long ticks; } recorded[256];
static unsigned long submitted, reads;
struct Submit { int type; void *next; unsigned waits; void *semaphores, *stages; unsigned count; void **commands; };

static unsigned long *ticks(void *commands) {
  int i = 0;
  while (i < 255 && recorded[i].commands && recorded[i].commands != commands) i++;
  recorded[i].commands = commands;
  return &recorded[i].ticks;
}
static int begin_commands(void *c, const void *info) {
  *ticks(c) = 0;
  return real_begin(c, info);
}
static int submit(void *queue, unsigned count, const void *infos, void *fence) {
  const struct Submit *info = infos;
  if (count && info->count) submitted = *ticks(info->commands[0]);
  return real_submit(queue, count, infos, fence);
}
static int results(void *d, void *pool, unsigned first, unsigned count, size_t size, void *data, unsigned long stride, unsigned flags) {
  int result = real_results(d, pool, first, count, size, data, stride, flags);
  unsigned long *time = data;
  if (count == 2 && stride == 8) time[1] = time[0] + submitted / 1000 * (999 + reads++ % 3);
  return result;
}

static void push(void *c, void *layout, unsigned stages, unsigned offset, unsigned size, const void *data) {
  columns = ((const unsigned *)data)[1];
  real_push(c, layout, stages, offset, size, data);
}
static void dispatch(void *c, unsigned x, unsigned y, unsigned z) {
  *ticks(c) += 100000 * columns * (columns == atoi(getenv("SLOW_N")) ? 4 : 1);
  real_dispatch(c, x, y, z);
}
static Function device(void *d, const char *name) {
  Function function = real_device(d, name);
  if (!strcmp(name, "vkCmdPushConstants")) { real_push = (void *)function; return (Function)push; }
  if (!strcmp(name, "vkBeginCommandBuffer")) { real_begin = (void *)function; return (Function)begin_commands; }
  if (!strcmp(name, "vkQueueSubmit")) { real_submit = (void *)function; return (Function)submit; }
  if (!strcmp(name, "vkGetQueryPoolResults")) { real_results = (void *)function; return (Function)results; }
  if (!strcmp(name, "vkCmdDispatch")) { real_dispatch = (void *)function; return (Function)dispatch; }
  return function;
}
__attribute__((constructor)) static void begin(void) {
  void *library = dlopen(getenv("SLOW_IN"), RTLD_NOW);
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
"""A driver whose timestamps say that a dispatch of N columns takes N * 100 us, and four times as long for SLOW_N columns.

Its clock counts work instead of time, so that a busy machine changes no verdict.
"""

SMALL = ("--op", "gemv", "--type", "f16,q8_0", "--path", "scalar-f32", "--blocks", "4", "--lives", "2")


def vkprobe(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, as a user runs it."""
    return subprocess.run([sys.executable, "-m", "vkprobe", *arguments], capture_output=True, text=True, timeout=600, check=False)


def verdicts(done: subprocess.CompletedProcess[str], of: str = "result") -> dict[str, str]:
    """The verdict of each cell, out of --format json."""
    assert done.stdout, done.stderr
    return {cell["name"]: cell["verdict"] for cell in json.loads(done.stdout)["cells"] if cell["of"] == of}


def test_a_planted_slowdown_is_found_and_named(embedded: dict[str, DriverSpec], bad_driver: BadDriver, tmp_path: Path) -> None:
    """A driver that is slow at one family: those cells are slower, no other is; --fail-on ends with 1 and names them; records are kept."""
    lavapipe = embedded["lvp"]
    assert lavapipe.icd is not None
    library = json.loads(Path(lavapipe.icd).read_text())["ICD"]["library_path"]
    path = (Path(lavapipe.icd).parent / library).resolve() if "/" in library else Path(str(lavapipe.root)) / LIBRARIES / library
    config, output = tmp_path / "drivers.toml", tmp_path / "ab.jsonl"
    manifest = bad_driver("slow", SLOW)
    config.write_text(f'[drivers.wrapped]\nicd = "{manifest}"\nenv = {{ SLOW_IN = "{path}", SLOW_N = 0 }}\n')
    sides = ("--drivers", str(config), "--a", "wrapped", "--b", "wrapped", "--b-env", "SLOW_N=4")
    shapes = ("--shape", "64,1,256", "--shape", "64,4,256")
    done = vkprobe("ab", *sides, *SMALL, *shapes, "--fail-on", "slower:50%", "--format", "json", "-o", str(output))
    assert done.returncode == 1, done.stderr
    slow = {f"gemv/{weights}/scalar-f32/f32/64x4x256/cold" for weights in ("f16", "q8_0")}
    by_cell = verdicts(done)
    assert {name for name, verdict in by_cell.items() if verdict == "slower"} == slow
    assert len(by_cell) == 4
    assert "--fail-on slower:50% (2: gemv/" in done.stderr
    store = Store.load([output])
    assert {key.device for key in store.devices} == {"wrapped/0", "wrapped+SLOW_N=4/0"}
    for result in store.results.values():
        assert result.status == "ok"
        assert result.time
        assert set(result.time.rounds) >= set(range(8))
    assert vkprobe("matrix", str(output)).returncode == 0


def test_a_driver_that_crashes_costs_its_own_cells(faulty_lavapipe: FaultyLavapipe, tmp_path: Path) -> None:
    """B dies once, in the middle of its timing: it loses one cell, A's workers live, the other cells have verdicts; exit status 4."""
    spec, config, output = faulty_lavapipe("crash", after=60, once=True), tmp_path / "drivers.toml", tmp_path / "ab.jsonl"
    variables = ", ".join(f"{name} = {json.dumps(value)}" for name, value in spec.environment.items())
    config.write_text(f'[drivers.faulty]\nicd = "{spec.icd}"\nenv = {{ {variables} }}\n')
    cells = ("--op", "gemv", "--type", "f16", "--path", "scalar-f32", *(f"--shape=64,{n},64" for n in (1, 2, 3)))
    sides = ("--drivers", str(config), "--a", "embedded:lvp", "--b", "faulty")
    done = vkprobe("ab", *sides, *cells, "--blocks", "2", "--lives", "1", "--format", "json", "-o", str(output))
    assert done.returncode == 4, done.stderr
    outcomes = sorted(verdicts(done).values())
    assert outcomes.count("crash") == 1
    assert set(outcomes) - {"crash"} <= {"same", "unclear", "slower", "faster"}
    store = Store.load([output])
    assert [(e.device, e.what, e.signal) for e in store.events] == [("faulty/0", "crash", "SIGSEGV"), ("faulty/0", "restart", None)]
    assert [r.status for r in store.results.values() if r.device == "embedded:lvp/0"] == ["ok"] * 3


def test_two_mesa_versions_have_a_verdict_for_each_cell(embedded: dict[str, DriverSpec]) -> None:
    """Lavapipe 25.0 against 26.1: each cell has a verdict; a cell that only 26.1 supports shows why 25.0 doesn't."""
    if "trixie" not in embedded_set.fetched_suites():
        pytest.skip("needs Mesa 25.0: vkprobe drivers fetch --suite trixie")
    options = ("--op", "gemm", "--type", "f16", "--path", "scalar-f32,coopmat", "--blocks", "2", "--lives", "1", "--shape", "64,32,64")
    done = vkprobe("ab", "--a", "embedded@trixie:lvp", "--b", "embedded:lvp", *options)
    assert done.returncode == 0, done.stderr
    assert "A embedded@trixie:lvp/0 (llvmpipe" in done.stdout
    rows = {line.split()[0]: line.split()[2:] for line in done.stdout.splitlines() if line.startswith("gemm_")}
    assert set(rows) >= {"gemm_f16_scalar_f32", "gemm_f16_coopmat_acc_f16"}
    assert rows["gemm_f16_scalar_f32"][0] in ("same", "slower", "faster", "unclear")
    assert "unsupported -> ok" in next(line for line in done.stdout.splitlines() if line.startswith("gemm_f16_coopmat_acc_f16"))
    assert "A: needs VkPhysicalDeviceCooperativeMatrixFeaturesKHR.cooperativeMatrix" in done.stdout


def test_null_devices_are_compiled_for(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """Two Mesa versions of one chip: kernels whose registers or instructions changed, and that there are no times; twice one, nothing."""
    if "trixie" not in embedded_set.fetched_suites():
        pytest.skip("needs Mesa 25.0: vkprobe drivers fetch --suite trixie")
    few, output = ("--type", "q4_0", "--path", "scalar-f32"), tmp_path / "ab.jsonl"
    done = vkprobe("ab", "--a", "radv:navi31@trixie", "--b", "radv:navi31", *few, "--fail-on", "changed", "-o", str(output))
    assert done.returncode == 1, done.stderr
    assert "gemm_q4_0_scalar_f32" in done.stdout
    assert "null devices execute nothing: compile statistics only, no times" in done.stdout
    kinds = [json.loads(line)["kind"] for line in output.read_text().splitlines()]
    assert kinds.count("pipeline") > 0
    assert "result" not in kinds
    same = vkprobe("ab", "--a", "radv:navi31", "--b", "radv:navi31", "--b-env", "MINE=1", *few, "--fail-on", "changed")
    assert same.returncode == 0, same.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--a", "embedded:lvp", "--b", "nothing"), 2, "unknown driver nothing"),
        (("--a", "embedded:lvp"), 2, "--b"),
        (("--a", "embedded:lvp", "--b", "radv:navi31"), 2, "no device in common"),
        (("--a", "radv:navi21", "--b", "radv:navi31"), 2, "no device in common"),
        (("--a", "embedded:lvp", "--b", "embedded:lvp", "--b-env", "X"), 2, "expected NAME=VALUE"),
        (("--a", "embedded:lvp", "--b", "embedded:lvp", "--shape", "1,1,1"), 2, "--op"),
        (("--a", "radv:navi31", "--b", "radv:navi31", "--op", "gemv"), 2, "--op: null devices"),
        (("--a", "embedded:lvp", "--b", "embedded:lvp", "--b-env", "VK_DRIVER_FILES=/nowhere.json"), 4, "--b embedded:lvp+"),
    ],
)
def test_what_can_not_be_compared_is_refused(
    embedded: dict[str, DriverSpec], arguments: tuple[str, ...], status: int, message: str
) -> None:
    """A sentence, and the contract's exit status."""
    done = vkprobe("ab", *arguments)
    assert (done.returncode, message in done.stderr) == (status, True), done.stderr


def test_an_interrupt_is_judged_and_written(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """Ctrl-C in the third block: a table of what there is, both sides' records, status 130."""
    output = tmp_path / "ab.jsonl"
    argv = [sys.executable, "-m", "vkprobe", "ab", "--a", "embedded:lvp", "--b", "embedded:lvp", "-o", str(output)]
    options = ["--op", "gemv", "--type", "f16", "--shape", "64,1,256", "--blocks", "200", "--lives", "1"]
    process = subprocess.Popen([*argv, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stderr is not None
    for line in process.stderr:
        if (block := re.search(r"block (\d+)", line)) and int(block[1]) >= 3:
            break
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "gemv_f16_subgroup" in out
    records: list[dict[str, Any]] = [json.loads(line) for line in output.read_text().splitlines()]
    results = [r for r in records if r["kind"] == "result"]
    assert {r["device"] for r in results} == {"embedded:lvp/0", "embedded:lvp-2/0"}
    assert all(r["status"] == "ok" and r["interrupted"] for r in results)
