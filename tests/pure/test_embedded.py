"""The embedded set: its place, whole or absent, and the C library that its workers run on."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from vkprobe.drivers import apt, clibrary, embedded, launch
from vkprobe.drivers.spec import DriverSpec


def unpack_one_driver(target: Path, suites: Sequence[str], packages: Sequence[str], progress: apt.Progress) -> dict[str, str]:
    """Stands in for apt: a set with one driver and a few libraries."""
    libraries = target / clibrary.LIBRARIES
    libraries.mkdir(parents=True)
    for name in ("libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libLLVM.so.19.1", "libvulkan_lvp.so", "libresolv.so.2"):
        (libraries / name).write_bytes(b"stable release version 2.41.\n" if name == "libc.so.6" else b"")
    manifests = target / "usr/share/vulkan/icd.d"
    manifests.mkdir(parents=True)
    body = {"file_format_version": "1.0.1", "ICD": {"library_path": "libvulkan_lvp.so", "api_version": "1.4.0"}}
    (manifests / "lvp_icd.json").write_text(json.dumps(body))
    return {"mesa-vulkan-drivers": "26.1.6"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and an apt that unpacks at once."""
    monkeypatch.setenv("VKPROBE_CACHE", str(tmp_path))
    monkeypatch.setattr(apt, "unpack", unpack_one_driver)
    return tmp_path


def quiet(line: str) -> None:
    """Progress nobody reads."""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"VKPROBE_CACHE": "/v", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/v"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/vkprobe"),
        ({"HOME": "/h"}, "/h/.cache/vkprobe"),
    ],
)
def test_cache_folder_follows_its_variables(environment: dict[str, str], expected: str) -> None:
    """VKPROBE_CACHE, then XDG_CACHE_HOME, then the home folder."""
    assert embedded.cache_folder(environment) == Path(expected)


def test_an_empty_home_is_looked_up() -> None:
    """Cron jobs and containers start with none: the user's entry in the password file counts."""
    import pwd

    assert embedded.cache_folder({"HOME": ""}) == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache/vkprobe"


def test_a_fetched_set_names_its_drivers_with_absolute_libraries(cache: Path) -> None:
    """`embedded:` for the default suite, `embedded@SUITE:` for others; the manifests hold whole paths."""
    embedded.fetch("trixie-backports", quiet)
    embedded.fetch("trixie", quiet)
    (default,), (other,) = embedded.drivers(), embedded.drivers("trixie")
    assert (default.name, other.name) == ("embedded:lvp", "embedded@trixie:lvp")
    assert default.fault is None
    assert default.root == str(cache / "drivers/trixie-backports")
    library = json.loads(Path(default.icd or "").read_text())["ICD"]["library_path"]
    assert library == str(cache / "drivers/trixie-backports" / clibrary.LIBRARIES / "libvulkan_lvp.so")


def test_a_failed_fetch_leaves_nothing_and_the_old_set_works(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted half-way: no folder beside the set, and the one from before is untouched."""
    embedded.fetch("trixie", quiet)

    def interrupted(target: Path, *_: object) -> dict[str, str]:
        (target / "half").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(apt, "unpack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embedded.fetch("trixie", quiet, again=True)
    assert sorted(p.name for p in (cache / "drivers").iterdir()) == [".trixie.lock", "trixie"]
    assert [d.fault for d in embedded.drivers("trixie")] == [None]


def test_what_a_killed_fetch_left_is_cleared_away(cache: Path) -> None:
    """kill -9 leaves its folder behind; the next fetch removes it."""
    left = cache / "drivers/.trixie.fetch-abc/new/usr"
    left.mkdir(parents=True)
    embedded.fetch("trixie", quiet)
    assert sorted(p.name for p in (cache / "drivers").iterdir()) == [".trixie.lock", "trixie"]


def test_a_set_without_its_stamp_is_no_set(cache: Path) -> None:
    """A folder that something else made is not taken for a driver set."""
    (cache / "drivers/trixie-backports/icd").mkdir(parents=True)
    assert embedded.drivers() == []
    assert embedded.fetched_suites() == []


def test_a_second_fetch_waits_and_finds_the_set(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once: one unpacks, the other waits for it and is done."""
    unpacked: list[Path] = []

    def slow(target: Path, suites: Sequence[str], packages: Sequence[str], progress: apt.Progress) -> dict[str, str]:
        unpacked.append(target)
        time.sleep(0.2)
        return unpack_one_driver(target, suites, packages, progress)

    monkeypatch.setattr(apt, "unpack", slow)
    said: list[str] = []
    both = [threading.Thread(target=embedded.fetch, args=("trixie", said.append)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(unpacked) == 1
    assert any("waiting" in line for line in said)
    assert embedded.fetched("trixie")


def test_the_lock_holds_across_processes(cache: Path) -> None:
    """Another process that fetches is waited for."""
    (cache / "drivers").mkdir()
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(str(cache / "drivers/.trixie.lock"), ready))
    holder.start()
    assert ready.wait(10)
    said: list[str] = []
    embedded.fetch("trixie", said.append)
    holder.join()
    assert "waiting" in said[0]


def _hold(path: str, ready: threading.Event) -> None:
    import fcntl

    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready.set()
        time.sleep(0.3)


def test_a_worker_runs_on_the_sets_c_library_where_that_is_newer(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The set's dynamic loader starts Python, with the shim preloaded by it alone."""
    monkeypatch.setattr(clibrary, "host_version", lambda: (2, 36))
    root = str(embedded.fetch("trixie", quiet))
    spec = DriverSpec(name="x", icd="/x.json", root=root, preload=("/shim.so",))
    argv = launch._python(spec)
    assert argv[0] == f"{root}/{clibrary.LOADER}"
    assert argv[argv.index("--preload") + 1] == "/shim.so"
    assert "LD_PRELOAD" not in launch.worker_environment(spec, {})


def test_a_worker_stays_on_the_machines_c_library_where_that_is_newer(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The set's libraries come by LD_LIBRARY_PATH then, without the C library's own; the machine's C++ runtime goes first."""
    monkeypatch.setattr(clibrary, "host_version", lambda: (2, 42))
    root = str(embedded.fetch("trixie", quiet))
    spec = DriverSpec(name="x", icd="/x.json", root=root, preload=("/shim.so",))
    assert len(launch._python(spec)) == 1
    environment = launch.worker_environment(spec, {"LD_LIBRARY_PATH": "/mine"})
    assert environment["LD_PRELOAD"] == "/shim.so"
    folders = environment["LD_LIBRARY_PATH"].split(":")
    assert sorted(p.name for p in Path(folders[0]).iterdir()) == ["libLLVM.so.19.1", "libvulkan_lvp.so"]
    assert sorted(p.name for p in Path(folders[-1]).iterdir()) == ["libgcc_s.so.1", "libstdc++.so.6"]
    assert folders[1] == "/mine"


def test_variables_that_choose_drivers_do_not_reach_the_worker() -> None:
    """The worker sees its own driver whatever the listing was filtered by."""
    base = {"VK_LOADER_DRIVERS_DISABLE": "*", "VK_LOADER_DRIVERS_SELECT": "x", "VK_ADD_DRIVER_FILES": "/y", "VK_DRIVER_FILES": "/z"}
    environment = launch.worker_environment(DriverSpec(name="x", icd="/x.json", environment={"RADV_DEBUG": "info"}), base)
    assert {k: v for k, v in environment.items() if k.startswith(("VK_LOADER_DRIVERS", "VK_ADD", "VK_DRIVER", "RADV"))} == {
        "VK_DRIVER_FILES": "/x.json",
        "RADV_DEBUG": "info",
    }
