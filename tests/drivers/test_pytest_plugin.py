"""The pytest plugin in projects of its own: pytest runs in a subprocess, on lavapipe, null devices and drivers that fail."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.drivers.conftest import BadDriver, FaultyLavapipe
from vkprobe.drivers.spec import DriverSpec

EXAMPLES = Path(__file__).parents[2] / "examples"
Pytest = Callable[..., "subprocess.CompletedProcess[str]"]
"""Runs pytest with these arguments in a folder of its own."""

SAXPY = """
from pathlib import Path
import numpy as np
X, Y = np.arange(4096, dtype=np.float32), np.ones((64, 64), np.float32)
SPV = Path("examples/saxpy.spv").absolute()

def saxpy(vk_kernel, **options):
    return vk_kernel(SPV, **{**dict(bindings=[X, Y], push=(X.size, 2.0), constants={0: 64}, groups=64, timeout_s=2.0), **options})

def check(kernel):
    x, y = kernel.run()
    assert (x == X).all() and y.shape == Y.shape and (y.ravel() == 2 * X + 1).all()
"""


@pytest.fixture
def run_pytest(tmp_path: Path) -> Pytest:
    """pytest in a folder that has no configuration."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    shutil.copytree(
        EXAMPLES, tmp_path / "examples", ignore=lambda folder, names: [n for n in names if "saxpy" not in n and "my_shader" not in n]
    )

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, arguments)]
        return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=600)

    return run


def on(spec: DriverSpec, folder: Path) -> None:
    """Make this the driver of tests in `folder`."""
    (folder / "conftest.py").write_text(
        "import msgspec\nfrom vkprobe import pytest_plugin as plugin\nfrom vkprobe.drivers.spec import DriverSpec\n"
        f"SPEC = {msgspec.json.encode(spec)!r}\n"
        "def pytest_configure(config):\n"
        "    config.stash[plugin._CHOICES] = plugin.Choices([msgspec.json.decode(SPEC, type=DriverSpec)])\n"
    )


def medians(path: Path) -> dict[str, float]:
    """Medians in a pytest-benchmark file, by name."""
    return {b["name"]: b["stats"]["median"] for b in json.loads(path.read_text())["benchmarks"]}


def test_the_example_is_timed_by_the_gpu_and_compared(embedded: dict[str, DriverSpec], run_pytest: Pytest, tmp_path: Path) -> None:
    """Two runs, pytest-benchmark compare on their files; extra_info names the driver; a regression trips --benchmark-compare-fail."""
    old, new, doctored = (tmp_path / f"{name}.json" for name in ("old", "new", "doctored"))
    example = "examples/test_my_shader.py"
    first = run_pytest(example, "--vk-driver", "embedded:lvp", f"--benchmark-json={old}")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "2 passed, 1 skipped" in first.stdout  # lavapipe reports no spills
    assert "vkprobe: embedded:lvp" in first.stdout
    body = json.loads(old.read_text())
    assert [b["name"] for b in body["benchmarks"]] == ["test_saxpy", "test_vkprobes_own_gemm"]
    for b in body["benchmarks"]:
        assert (b["extra_info"]["device"], b["extra_info"]["driver"], b["extra_info"]["clock"]) == ("embedded:lvp/0", "llvmpipe", "gpu")
        assert len(b["extra_info"]["spirv_sha"]) == 64
        assert (b["options"]["timer"], b["stats"]["iterations"]) == ("gpu", 1)
        assert b["stats"]["min"] > 0
    assert [b["stats"]["rounds"] for b in body["benchmarks"]] == [20, 3]
    for b in body["benchmarks"]:
        b["stats"]["median"] /= 1e6
    doctored.write_text(json.dumps(body))
    second = run_pytest(
        example,
        "--vk-driver=embedded:lvp",
        "-k",
        "saxpy",
        f"--benchmark-json={new}",
        f"--benchmark-compare={doctored}",
        "--benchmark-compare-fail=median:5%",
    )
    assert second.returncode != 0
    assert "Performance has regressed" in second.stdout + second.stderr
    tool = Path(sys.executable).with_name("pytest-benchmark")
    done = subprocess.run([tool, "compare", old, new], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(re.findall("^test_saxpy ", done.stdout, re.M)) == 2
    assert set(medians(new)) == {"test_saxpy"}


def test_several_drivers_and_null_devices(embedded: dict[str, DriverSpec], run_pytest: Pytest) -> None:
    """Tests run once a driver, named so; what must execute is skipped on a null device, statistics are not."""
    done = run_pytest("examples/test_my_shader.py", "--vk-driver=embedded:lvp", "--vk-driver=radv:gfx1201", "-rs", "-v")
    assert done.returncode == 0, done.stdout
    for line in (
        "test_saxpy[embedded:lvp] PASSED",
        "test_saxpy_does_not_spill[radv:gfx1201] PASSED",
        "test_saxpy[radv:gfx1201] SKIPPED",
    ):
        assert line in done.stdout
    assert "radv:gfx1201/0: a null device compiles and executes nothing" in done.stdout


def test_statistics_of_a_null_device(embedded: dict[str, DriverSpec], run_pytest: Pytest, tmp_path: Path) -> None:
    """Registers and instructions of RADV, of a shader and of a cell; more features for a later kernel don't cost an earlier one."""
    (tmp_path / "test_it.py").write_text(
        SAXPY
        + """
def test_it(vk_kernel, vk_driver, vk_device):
    mine = saxpy(vk_kernel)
    assert mine.statistics.registers > 0 and mine.statistics.instructions > 0 and mine.statistics.raw["VGPRs"] > 0
    gemm = vk_kernel("gemm", type="f16", shape=(256, 32, 256), path="coopmat")
    assert gemm.statistics.registers > mine.statistics.registers
    again = saxpy(vk_kernel)
    assert again.statistics.raw == mine.statistics.raw
    assert vk_driver.identity.id == "VK_DRIVER_ID_MESA_RADV" and vk_device.null
"""
    )
    done = run_pytest("test_it.py", "--vk-driver=radv:navi31")
    assert done.returncode == 0, done.stdout


def test_kernels_live_side_by_side(embedded: dict[str, DriverSpec], run_pytest: Pytest, tmp_path: Path) -> None:
    """Inputs stay as they were, dispatches accumulate, run() starts anew; gaps in bindings; a worker reopened for more features."""
    (tmp_path / "test_it.py").write_text(
        SAXPY
        + """
import pytest
from vkprobe.errors import UsageError

def test_it(vk_kernel):
    mine = saxpy(vk_kernel)
    check(mine)
    assert mine.gpu_time_s > 0 and mine.clock == "gpu"
    mine.dispatch(repeat=3)
    check(mine)
    assert (Y == 1).all()
    half = vk_kernel("gemm", type="f16", shape=(64, 16, 64), path="scalar-f16")
    assert half.run().nmse <= half.check.bound
    check(mine)
    spare = saxpy(vk_kernel, bindings={0: X, 1: Y, 5: X[:3]})
    assert [a.shape for a in spare.run()] == [X.shape, Y.shape, (3,)]
    push = np.array([4096, np.float32(2).view(np.uint32)], np.uint32)
    check(vk_kernel(SPV.read_bytes(), bindings=[X, Y], push=push, constants={0: 64}, groups=64))

@pytest.mark.parametrize(("options", "message"), [
    (dict(bindings=[X]), "no array for binding 1"), (dict(bindings=[X, Y[:0]]), "binding 1 is empty"), (dict(groups=0), "groups 0"),
])
def test_misuse(vk_kernel, options, message):
    with pytest.raises(UsageError, match=message):
        saxpy(vk_kernel, **options)

def test_misuse_of_cells(vk_kernel):
    with pytest.raises(UsageError, match="choose path= of scalar-f32, scalar-f16"):
        vk_kernel("gemm", type="f16", shape=(64, 16, 64))
    with pytest.raises(UsageError, match="takes type= and shape="):
        vk_kernel("gemm")
    with pytest.raises(UsageError, match="missing.spv: can't be read"):
        vk_kernel("missing.spv", bindings=[X], groups=1)

def test_nothing_dispatched(gpu_benchmark):
    with pytest.raises(RuntimeError, match="no kernel of vk_kernel was dispatched"):
        gpu_benchmark(lambda: None)
"""
    )
    done = run_pytest("test_it.py", "--vk-driver=embedded:lvp", "--vk-device=llvm")
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout


FAILING = """
def test_before(vk_kernel):
    check(saxpy(vk_kernel))

def test_victim(vk_kernel):
    check(saxpy(vk_kernel))

def test_after(vk_kernel):
    check(saxpy(vk_kernel))
"""


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("crash", "crash: killed by SIGSEGV while dispatching saxpy.spv"),
        ("lost", "VK_ERROR_DEVICE_LOST while dispatching"),
        ("hang", "timeout: no answer"),
    ],
)
def test_a_driver_that_fails_costs_one_test(
    faulty_lavapipe: FaultyLavapipe, run_pytest: Pytest, tmp_path: Path, fault: str, message: str
) -> None:
    """Its failure names the signal and what the driver printed last; the tests before and after pass, in a new worker."""
    spec = faulty_lavapipe(fault, after=10)
    spec = msgspec.structs.replace(spec, environment={**spec.environment, "VK_LOADER_DEBUG": "driver"})
    on(spec, tmp_path)
    source = SAXPY + FAILING
    (tmp_path / "test_it.py").write_text(source)
    done = run_pytest("test_it.py", "-rf", "-v")
    assert done.returncode == 1, done.stdout
    assert "1 failed, 2 passed" in done.stdout
    assert "test_victim FAILED" in done.stdout
    assert message in done.stdout
    assert "faulty/0 (llvmpipe" in done.stdout
    assert "The driver's last lines on stderr:" in done.stdout


def test_a_driver_that_executes_nothing_fails(faulty_lavapipe: FaultyLavapipe, run_pytest: Pytest, tmp_path: Path) -> None:
    """It is no null device: not skipped."""
    on(faulty_lavapipe("nothing", after=0), tmp_path)
    (tmp_path / "test_it.py").write_text(SAXPY + FAILING)
    done = run_pytest("test_it.py", "-k", "before")
    assert done.returncode == 1
    assert "faulty/0 executed nothing, though it is no null device" in done.stdout


def test_drivers_without_a_device(bad_driver: BadDriver, embedded: dict[str, DriverSpec], run_pytest: Pytest, tmp_path: Path) -> None:
    """A broken driver fails, one without its hardware skips with the remedy, an unknown one ends pytest with a sentence."""
    (tmp_path / "test_it.py").write_text("def test_it(vk_device):\n    pass\n")
    broken = run_pytest("test_it.py", "--vk-driver", bad_driver("broken", "int nothing;"))
    assert broken.returncode == 1
    assert "exports no vk_icdGetInstanceProcAddr" in broken.stdout
    absent = run_pytest("test_it.py", "--vk-driver=embedded:nouveau", "-rs")
    assert absent.returncode in (0, 1)  # 1 where this machine has such a card and no permission
    assert ("driver embedded:nouveau has no device: " in absent.stdout) == (absent.returncode == 0)
    unknown = run_pytest("test_it.py", "--vk-driver=embedded:lpv")
    assert unknown.returncode == 4
    assert "ERROR: unknown driver embedded:lpv" in unknown.stderr
    assert "Did you mean embedded:lvp?" in unknown.stderr


def test_without_pytest_benchmark(run_pytest: Pytest, tmp_path: Path) -> None:
    """gpu_benchmark says what to install."""
    (tmp_path / "test_it.py").write_text("def test_it(gpu_benchmark):\n    pass\n")
    done = run_pytest("test_it.py", "-p", "no:benchmark")
    assert done.returncode == 1
    assert "pip install '.[pytest]'" in done.stdout


def test_projects_that_dont_use_it_pay_nothing(run_pytest: Pytest, tmp_path: Path) -> None:
    """The plugin is loaded and has imported nothing of weight; its options are there."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.hasplugin('vkprobe')\n"
        "    assert pytestconfig.getoption('--vk-driver') == []\n"
        "    heavy = {'numpy', 'vulkan', 'msgspec', 'click', 'jinja2', 'vkprobe.drivers', 'vkprobe.records'}\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    done = run_pytest("test_it.py")
    assert done.returncode == 0, done.stdout
