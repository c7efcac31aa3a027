"""Workers of real drivers: where their Python looks for modules, what they inherit, and how one that can't start is reported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import PATIENCE_S, BadDriver, FaultyLavapipe, gemvs
from tests.drivers.test_drivers import CRASH, outcomes
from vkprobe.drivers import launch
from vkprobe.drivers.clibrary import LIBRARIES
from vkprobe.drivers.embedded import layer_folder
from vkprobe.drivers.launch import Worker
from vkprobe.drivers.manifests import spec_of
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerFailed, WorkerLost
from vkprobe.facts import gather
from vkprobe.ops.plan import plans
from vkprobe.protocol import Enumerate, Fault, FaultReport, Open, Prepare
from vkprobe.session.opening import open_request

FOREIGN = ("__future__", "ctypes", "enum", "importlib", "linecache", "msgspec", "numpy", "sitecustomize", "threading", "vkprobe", "vulkan")

PLAIN = Open(index=0, extensions=[], features={}, robustness=False, statistics=False, rotation_bytes=1 << 20)


@pytest.fixture
def foreign_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, full of files named as modules that a worker imports; each leaves a mark where it runs."""
    for name in FOREIGN:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / name)!r} + '.ran', 'w')\nraise SystemExit('foreign code')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "environment",
    [{}, {"PYTHONPATH": ""}, {"PYTHONPATH": ":/nowhere"}, {"PYTHONPATH": "/nowhere:"}, {"PYTHONSAFEPATH": "1"}],
    ids=["plain", "empty", "leading", "trailing", "safe"],
)
def test_a_worker_imports_nothing_from_the_current_folder(
    embedded: dict[str, DriverSpec], foreign_folder: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """This holds when it starts and when it loads the driver and numpy, whichever of Python's variables are set."""
    for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with Worker(embedded["lvp"]) as worker:
        (device,) = worker.request(Enumerate(), timeout=300)
        worker.request(PLAIN, timeout=300)
    assert device["type"] == "cpu"
    assert list(foreign_folder.glob("*.ran")) == []


def test_a_worker_runs_the_vkprobe_that_started_it(
    embedded: dict[str, DriverSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one that PYTHONPATH names stays out, though the user's folders are searched."""
    (tmp_path / "vkprobe").mkdir()
    (tmp_path / "vkprobe" / "__init__.py").write_text("raise SystemExit('another vkprobe')\n")
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'searched')!r}, 'w')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    with Worker(embedded["lvp"]) as worker:
        assert worker.request(Enumerate(), timeout=300)
    assert (tmp_path / "searched").exists()


def with_module(spec: DriverSpec, folder: Path, name: str, body: str) -> DriverSpec:
    """The driver, its workers importing a module of that body first."""
    (folder / f"{name}.py").write_text(body)
    return replace(spec, environment={**spec.environment, "PYTHONPATH": str(folder)})


BROKEN = "raise ImportError('libffi.so.9: cannot open shared object file')\n"


def test_a_worker_that_python_can_not_start_is_no_crash_of_the_driver(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """The exception is named and what to check; nobody is sent to the driver's developers."""
    (bad,) = outcomes(with_module(embedded["lvp"], tmp_path, "msgspec", BROKEN))
    assert bad.state == "error"
    assert bad.reason == "vkprobe's worker did not start (status 1): ImportError: libffi.so.9: cannot open shared object file"
    assert "pip check" in (bad.remedy or "")
    assert "developers" not in (bad.remedy or "")


def test_a_package_that_fails_later_is_no_fault_of_the_driver(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """The binding is imported by the first request only."""
    (bad,) = outcomes(with_module(embedded["lvp"], tmp_path, "vulkan", BROKEN))
    assert (bad.reason or "").startswith("vkprobe's worker failed: ImportError: libffi.so.9")
    assert "pip check" in (bad.remedy or "")


def test_a_launcher_that_fails_is_named(embedded: dict[str, DriverSpec]) -> None:
    """It ends before there is a worker."""
    (bad,) = outcomes(replace(embedded["lvp"], launcher=("sh", "-c", "echo no such debugger >&2; exit 3")))
    assert bad.reason == "vkprobe's worker did not start (status 3): no such debugger"
    assert "`launcher`" in (bad.remedy or "")


def test_a_worker_that_does_not_start_is_not_tried_again(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """It is a failure in words and no loss, which would cost a cell and then two more workers."""
    with (
        Worker(with_module(embedded["lvp"], tmp_path, "msgspec", BROKEN)) as worker,
        pytest.raises(WorkerFailed, match="did not start") as failed,
    ):
        worker.request(Enumerate(), timeout=300)
    assert failed.value.code == "no-start"


CHATTY = """
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void f(void) {
  for (int i = 0; i < 200000; i++) fprintf(stderr, "%063d\\n", i);
  sleep(SLEEP);
  fprintf(stderr, "the end\\n");
  END;
}
"""


def written(worker: Worker) -> int:
    """The size of the file that a worker prints to, in B."""
    return os.stat(f"/proc/{worker.pid}/fd/2").st_size


def test_what_a_driver_prints_is_kept_small_while_it_is_waited_for(
    embedded: dict[str, DriverSpec], bad_driver: BadDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12.8 MB in one request: gone before the reply comes, but for the last lines."""
    sizes = []
    kill = Worker.kill

    def measured_kill(worker: Worker) -> None:
        if worker.alive():
            sizes.append(written(worker))
        kill(worker)

    monkeypatch.setattr(Worker, "kill", measured_kill)
    manifest = bad_driver("chatty", CHATTY.replace("SLEEP", "2").replace("END", "for (;;) pause()"))
    with Worker(spec_of(manifest, root=embedded["lvp"].root)) as worker:
        worker.send(Enumerate())
        with pytest.raises(WorkerLost) as lost:
            worker.receive(4)
    assert lost.value.stderr_tail.splitlines()[-2:] == [f"{199999:063d}", "the end"]
    assert len(lost.value.stderr_tail) <= 4000
    assert len(sizes) == 1
    assert sizes[0] <= 1 << 20


def test_what_a_driver_prints_is_kept_small_between_requests(embedded: dict[str, DriverSpec], bad_driver: BadDriver) -> None:
    """After each reply less than 1 MiB is on the disk, and later output is appended."""
    spec = spec_of(bad_driver("chatty", CHATTY.replace("SLEEP", "0").replace("END", "")), root=embedded["lvp"].root)
    with Worker(replace(spec, environment={"VK_LOADER_DEBUG": "error"})) as worker:
        for _ in range(2):
            with pytest.raises(WorkerFailed):
                worker.request(Enumerate(), timeout=300)
            assert written(worker) <= 1 << 20
        assert f"{199999:063d}\nthe end" in worker.stderr_tail()
        assert "\0" not in worker.stderr_tail()


def test_a_worker_whose_parent_is_gone_ends_by_itself(embedded: dict[str, DriverSpec]) -> None:
    """Its parent may have died before the kernel was asked to bind the two."""
    requests, replies = os.pipe()
    try:
        argv = [sys.executable, launch._WORKER, "vkprobe.worker", str(requests), str(replies), "1"]
        assert subprocess.run(argv, pass_fds=(requests, replies), timeout=600, check=False).returncode == 1
    finally:
        os.close(requests)
        os.close(replies)


@pytest.fixture
def validation(monkeypatch: pytest.MonkeyPatch) -> str:
    """The validation layer, turned on as a user's shell does; its name in a worker's memory map."""
    if not (layer_folder() / "VkLayer_khronos_validation.json").is_file():
        pytest.skip("needs the validation layer: vkprobe drivers fetch --layers")
    monkeypatch.setenv("VK_LAYER_PATH", str(layer_folder()))
    monkeypatch.delenv("VKPROBE_KEEP_LAYERS", raising=False)
    launch._warn_about_layers.cache_clear()
    return "VkLayer_khronos_validation"


def loaded(worker: Worker) -> str:
    """The memory map of a worker that has listed its devices."""
    assert worker.request(Enumerate(), timeout=300)
    return Path(f"/proc/{worker.pid}/maps").read_text()


@pytest.mark.parametrize(
    ("variable", "value"), [("VK_INSTANCE_LAYERS", "VK_LAYER_KHRONOS_validation"), ("VK_LOADER_LAYERS_ENABLE", "*validation*")]
)
def test_a_users_layer_is_not_measured(
    embedded: dict[str, DriverSpec],
    validation: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
) -> None:
    """It stays out, which is said once; VKPROBE_KEEP_LAYERS=1 lets it in."""
    monkeypatch.setenv(variable, value)
    for _ in range(2):
        with Worker(embedded["lvp"]) as worker:
            assert validation not in loaded(worker)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"vkprobe: {variable} ignored: ")
    monkeypatch.setenv("VKPROBE_KEEP_LAYERS", "1")
    with Worker(embedded["lvp"]) as worker:
        assert validation in loaded(worker)
    assert capsys.readouterr().err == ""


def test_a_layer_that_a_driver_is_given_is_kept(
    embedded: dict[str, DriverSpec], validation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A layer in `env` of vkprobe.toml is part of what is measured."""
    spec = replace(embedded["lvp"], environment={"VK_INSTANCE_LAYERS": "VK_LAYER_KHRONOS_validation"})
    with Worker(spec) as worker:
        assert validation in loaded(worker)
    assert capsys.readouterr().err == ""


def test_implicit_layers_stay_off_beside_those_that_a_user_turns_off() -> None:
    """A VK_LOADER_LAYERS_DISABLE of the user's adds to vkprobe's own."""
    environment = launch.worker_environment(DriverSpec(name="x", icd="/x.json"), {"VK_LOADER_LAYERS_DISABLE": "VK_LAYER_x"})
    assert environment["VK_LOADER_LAYERS_DISABLE"] == "~implicit~,VK_LAYER_x"


def test_the_users_libraries_do_not_hide_the_sets(
    embedded: dict[str, DriverSpec], bad_driver: BadDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries of the same names in LD_LIBRARY_PATH, and in the current folder where it has an empty entry, are never loaded."""
    spec = embedded["lvp"]
    if not launch._on_set_loader(spec):
        pytest.skip("needs a C library older than the set's: run it on Debian 12")
    hiding = tmp_path / "hiding"
    hiding.mkdir()
    wrong = bad_driver("wrong", CRASH).parent / "libwrong.so"
    for library in (Path(str(spec.root)) / LIBRARIES).glob("*.so*"):
        (hiding / library.name).symlink_to(wrong)
    assert (hiding / "libvulkan.so.1").is_symlink()
    monkeypatch.chdir(hiding)
    monkeypatch.setenv("LD_LIBRARY_PATH", f":{hiding}")
    with Worker(spec) as worker:
        assert "libwrong" not in loaded(worker)


@pytest.mark.parametrize(("fault", "code"), [("unsignalled", "timeout"), ("lost", "device-lost")])
def test_a_worker_is_never_used_after_a_timeout_or_a_loss(
    embedded: dict[str, DriverSpec], faulty_lavapipe: FaultyLavapipe, fault: str, code: str
) -> None:
    """Its last submit may still run and overwrite what the next cell reads. After a loss it still reports the fault."""
    (device,) = gather([embedded["lvp"]], "run").devices
    (plan,) = plans(gemvs(1)(device), device)
    with Worker(faulty_lavapipe(fault, after=6)) as worker:
        worker.request(open_request(device, [plan.requirement]), timeout=PATIENCE_S)
        with pytest.raises(WorkerFailed) as failed:
            worker.request(Prepare(number=1, program=plan.program, timeout_s=1.0), timeout=PATIENCE_S)
        assert failed.value.code == code
        assert not worker.alive()
        with pytest.raises(WorkerLost, match=f"after a {code}") as lost:
            worker.request(Prepare(number=2, program=plan.program, timeout_s=1.0), timeout=PATIENCE_S)
        assert lost.value.what == code
        if code == "device-lost":
            assert isinstance(worker.request(Fault(), timeout=PATIENCE_S), FaultReport)
