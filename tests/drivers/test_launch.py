"""Workers of real drivers: where their Python looks for modules, what they inherit, and how one that can't start is told."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from vkprobe.drivers.launch import Worker
from vkprobe.drivers.spec import DriverSpec
from vkprobe.jobs import OpenRequest

FOREIGN = ("__future__", "ctypes", "enum", "importlib", "linecache", "msgspec", "numpy", "sitecustomize", "threading", "vkprobe", "vulkan")

PLAIN = OpenRequest(index=0, extensions=[], features={}, robustness=False, statistics=False, rotation_bytes=1 << 20)


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
    """Neither at its start nor when it loads the driver and numpy, whatever of Python's variables is set."""
    for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with Worker(embedded["lvp"]) as worker:
        (device,) = worker.request("enumerate", timeout=20)
        worker.request("open", timeout=30, **msgspec.to_builtins(PLAIN))
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
        assert worker.request("enumerate", timeout=20)
    assert (tmp_path / "searched").exists()
