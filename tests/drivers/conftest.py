"""Drivers for tests: the embedded set, and libraries that are no good."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from vkprobe.drivers import embedded as embedded_set
from vkprobe.drivers.spec import DriverSpec

BadDriver = Callable[[str, str], Path]
"""(name, C source) -> path of a manifest whose library was built from it."""


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
        subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)], input=source, text=True, check=True)
        body = {"file_format_version": "1.0.1", "ICD": {"library_path": str(library), "api_version": "1.3.0"}}
        manifest.write_text(json.dumps(body))
        return manifest

    return build
