"""Real drivers, null devices and broken ones: each ends in its state, and no process stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.drivers.conftest import BadDriver
from vkprobe.cli.drivers import drivers as command
from vkprobe.drivers import null, probe
from vkprobe.drivers.launch import Worker
from vkprobe.drivers.manifests import spec_of
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerLost
from vkprobe.protocol import Enumerate

CRASH = "__attribute__((constructor)) static void f(void) { *(volatile int *)8 = 1; }"
HANG = "#include <unistd.h>\n__attribute__((constructor)) static void f(void) { for (;;) pause(); }"
NO_ENTRY = "int nothing;"
NO_CREATE = "void *vk_icdGetInstanceProcAddr(void *i, const char *n) { (void)i; (void)n; return 0; }"
INIT_FAILED = """
#include <string.h>
static int create(void *a, void *b, void *c) { (void)a; (void)b; (void)c; return RESULT; }
static int extensions(void *l, unsigned *n, void *p) { (void)l; (void)p; *n = 0; return 0; }
void *vk_icdGetInstanceProcAddr(void *i, const char *n) {
  (void)i;
  if (!strcmp(n, "vkCreateInstance")) return create;
  if (!strcmp(n, "vkEnumerateInstanceExtensionProperties")) return extensions;
  return 0;
}
"""


@pytest.fixture
def root(embedded: dict[str, DriverSpec]) -> str:
    """The set whose loader broken drivers are started on."""
    return str(embedded["lvp"].root)


def outcomes(*specs: DriverSpec) -> list[probe.DriverOutcome]:
    """Probe, and check that no worker is left."""
    outcome = probe.probe(specs)
    assert children() == []
    return outcome


def children() -> list[int]:
    """Worker processes whose parent is this one."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return [int(pid) for pid, parent, argv in rows if int(parent) == os.getpid() and "vkprobe.worker" in argv]


def test_lavapipe_of_the_embedded_set_works(embedded: dict[str, DriverSpec]) -> None:
    """One CPU device, by the set's own loader and C library."""
    (lvp,) = outcomes(embedded["lvp"])
    assert lvp.state == "ok"
    assert [d.type for d in lvp.devices] == ["cpu"]
    assert "llvmpipe" in lvp.devices[0].name


def test_every_driver_of_the_set_ends_in_a_state_with_a_reason(embedded: dict[str, DriverSpec]) -> None:
    """Drivers without their hardware are no-device, never an error."""
    outcome = outcomes(*embedded.values())
    assert {f.state for f in outcome} <= {"ok", "no-device"}
    assert all(f.reason for f in outcome if f.state != "ok")


@pytest.mark.parametrize(("name", "says"), [("radv:gfx1201", "GFX1201"), ("nvk:172", "NVK"), ("turnip:750", "Adreno (TM) 750")])
def test_a_null_device_enumerates(embedded: dict[str, DriverSpec], name: str, says: str) -> None:
    """The real driver comes up on the shim's fake GPU."""
    (device,) = outcomes(null.resolve(*null.parse(name)))
    assert device.state == "ok"
    assert says in device.devices[0].name
    assert device.spec.null


def test_intels_null_device_enumerates(embedded: dict[str, DriverSpec], intel_shim: Path) -> None:
    """Its shim comes with no package."""
    (device,) = outcomes(null.resolve(*null.parse("anv:bmg"), shim=str(intel_shim)))
    assert device.state == "ok"
    assert "BMG" in device.devices[0].name


@pytest.mark.parametrize("name", ["radv:navi99", "nvk:192", "turnip:1"])
def test_an_unknown_chip_is_named(embedded: dict[str, DriverSpec], name: str) -> None:
    """The shim may abort, or the driver may find nothing."""
    (device,) = outcomes(null.resolve(*null.parse(name)))
    assert device.state == "error"
    assert f"does not know the chip {name.partition(':')[2]}" in (device.reason or "")


def test_broken_drivers_are_rows_beside_a_good_one(embedded: dict[str, DriverSpec], root: str, bad_driver: BadDriver) -> None:
    """A crash, a hang, a missing library, a file that isn't JSON and no file: each is reported, and the good driver works."""
    crash, hang = bad_driver("crash", CRASH), bad_driver("hang", HANG)
    folder = crash.parent
    body = '{"file_format_version": "1.0.1", "ICD": {"library_path": "%s", "api_version": "1.3.0"}}'
    (folder / "missing.json").write_text(body % (folder / "libmissing.so"))
    (folder / "soname.json").write_text(body % "libxcb-nonesuch.so.0")
    (folder / "broken.json").write_text("{ this is not JSON")
    paths = [crash, hang, *(folder / f"{name}.json" for name in ("missing", "soname", "broken", "absent"))]
    good, *bad = outcomes(embedded["lvp"], *(spec_of(path, root=root) for path in paths))
    assert good.state == "ok"
    assert {f.state for f in bad} == {"error"}
    reasons = [f.reason or "" for f in bad]
    expected = ["SIGSEGV", "hung", "libmissing.so does not exist", "libxcb-nonesuch.so.0 is missing", "not JSON", "does not exist"]
    assert [word in reason for word, reason in zip(expected, reasons, strict=True)] == [True] * len(expected)
    assert all(f.remedy for f in bad)


def test_a_library_that_is_no_driver_is_reported(root: str, bad_driver: BadDriver) -> None:
    """It loads and exports nothing of Vulkan."""
    (bad,) = outcomes(spec_of(bad_driver("empty", NO_ENTRY), root=root))
    assert "exports no vk_icdGetInstanceProcAddr" in (bad.reason or "")


def test_a_driver_without_create_instance_is_reported(root: str, bad_driver: BadDriver) -> None:
    """NVIDIA's GLX library behaves like this on a headless machine; the remedy is its EGL library."""
    (bad,) = outcomes(spec_of(bad_driver("GLX_nvidia", NO_CREATE), root=root))
    assert bad.state == "error"
    assert "no vkCreateInstance behind vk_icdGetInstanceProcAddr" in (bad.reason or "")
    assert "libEGL_nvidia.so.0" in (bad.remedy or "")


def test_a_driver_that_is_out_of_memory_is_no_missing_hardware(root: str, bad_driver: BadDriver) -> None:
    """The reason is the driver's VkResult, whatever device nodes there are."""
    (bad,) = outcomes(spec_of(bad_driver("oom", INIT_FAILED.replace("RESULT", "-1")), root=root))
    assert bad.state == "error"
    assert "VK_ERROR_OUT_OF_HOST_MEMORY" in (bad.reason or "")


def test_without_any_loader_the_fetch_is_named(tmp_path: Path) -> None:
    """A driver is there, but nothing to load it with."""
    from vkprobe.drivers.loader import system_loader

    if system_loader() is not None:
        pytest.skip("this machine has a Vulkan loader: run the tests where libvulkan1 is not installed")
    manifest = tmp_path / "a_icd.json"
    manifest.write_text('{"file_format_version": "1.0.1", "ICD": {"library_path": "liba.so", "api_version": "1.3.0"}}')
    (bad,) = outcomes(spec_of(manifest))
    assert (bad.state, bad.reason) == ("error", "no Vulkan loader (libvulkan.so.1) on this machine")
    assert "vkprobe drivers fetch" in (bad.remedy or "")


def test_a_hung_worker_dies_with_its_killed_parent(root: str, bad_driver: BadDriver) -> None:
    """kill -9 of the command leaves no process behind, even one that is stuck in dlopen."""
    manifest = bad_driver("hang", HANG)
    script = (
        "import sys\nfrom pathlib import Path\nfrom vkprobe.drivers.launch import Worker\nfrom vkprobe.drivers.manifests import spec_of\n"
        "from vkprobe.protocol import Enumerate\n"
        f"worker = Worker(spec_of(Path({str(manifest)!r}), root={root!r}))\n"
        "worker.send(Enumerate())\nprint(worker.pid, flush=True)\nworker.receive(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    try:
        assert wait_until(lambda: "libhang.so" in Path(f"/proc/{worker}/maps").read_text())
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    assert wait_until(lambda: not running(worker))


def running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: object, timeout: float = 300.0) -> bool:
    """Whether `condition()` came true within `timeout` (s)."""
    assert callable(condition)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_killed_worker_is_reported_with_its_signal(embedded: dict[str, DriverSpec]) -> None:
    """The next worker starts as if nothing had happened."""
    with Worker(embedded["lvp"]) as worker:
        worker.request(Enumerate(), timeout=300)
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(WorkerLost, match="SIGKILL") as lost:
            worker.request(Enumerate(), timeout=300)
    assert (lost.value.what, lost.value.signal) == ("crash", "SIGKILL")
    assert outcomes(embedded["lvp"])[0].state == "ok"


def test_a_launcher_runs_before_python(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """A shell that forks and waits is one: the pipes and the environment reach the worker through it."""
    from msgspec.structs import replace

    shell = ("sh", "-c", 'echo launched > "$0"; "$@"; exit $?', str(tmp_path / "mark"))
    (lvp,) = outcomes(replace(embedded["lvp"], launcher=shell))
    assert lvp.state == "ok"
    assert (tmp_path / "mark").read_text() == "launched\n"


def test_a_launcher_that_is_not_there_is_reported(embedded: dict[str, DriverSpec]) -> None:
    """The reason names the command."""
    from msgspec.structs import replace

    (bad,) = outcomes(replace(embedded["lvp"], launcher=("/nowhere/gdb",)))
    assert bad.state == "error"
    assert "/nowhere/gdb" in (bad.reason or "")


def test_the_listing_prints_records(embedded: dict[str, DriverSpec]) -> None:
    """`drivers --json`: one driver record a line, exit 4 where one that was asked for failed."""
    result = CliRunner().invoke(command, ["--driver", "embedded:lvp", "--driver", "/nowhere/gone_icd.json", "--json"])
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(r["kind"], r["driver"], r["state"], r["devices"]) for r in records] == [
        ("driver", "embedded:lvp", "ok", ["embedded:lvp/0"]),
        ("driver", "gone", "error", []),
    ]
    assert result.exit_code == 4


@pytest.mark.parametrize("form", ["table", "md", "csv", "json"])
def test_the_listing_prints_tables(embedded: dict[str, DriverSpec], form: str) -> None:
    """Every form names driver, state and device."""
    result = CliRunner().invoke(command, ["--driver", "embedded:lvp", "--format", form])
    assert result.exit_code == 0
    assert all(word in result.stdout for word in ("embedded:lvp", "ok", "llvmpipe"))


def test_the_doctor_says_what_to_do(embedded: dict[str, DriverSpec], root: str, bad_driver: BadDriver) -> None:
    """Reason, manifest and remedy of each driver that doesn't work."""
    manifest = bad_driver("empty", NO_ENTRY)
    result = CliRunner().invoke(command, ["doctor", "--driver", "embedded:lvp", "--driver", str(manifest)])
    assert result.exit_code == 4
    assert str(manifest) in result.stdout
    assert "do:   correct the manifest's library_path" in result.stdout
    assert "1 works, 0 have no device here, 1 in error." in result.stdout
