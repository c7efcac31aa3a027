"""The run, its machine and environment, and a device's record from its driver's replies."""

from __future__ import annotations

import os
import platform
import re
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from vkprobe import __version__
from vkprobe.drivers.null import FAMILIES
from vkprobe.drivers.spec import DriverSpec
from vkprobe.records import DeviceRecord, Host, RunRecord

_PREFIXES = (
    *("VK_", "MESA_", "RADV_", "ACO_", "AMD_", "ANV_", "INTEL_", "NAK_", "NVK_", "NV_", "TU_", "IR3_", "LP_"),
    *("GALLIUM_", "__GL_", "GGML_VK_", "LD_PRELOAD", "DRIRC"),
)
_SUFFIXES = ("_DEBUG", "_PERFTEST")
# A Mesa option can be set by its own name in lower case (`radv_cooperative_matrix2_nv=true`), as drirc sets it.
_DRIRC_OPTION = re.compile(r"(radv|anv|nvk|tu|lvp|vk|mesa|hasvk|panvk|v3dv)_[a-z0-9_]+")

_NO_EFFECT_ON_DRIVERS = re.compile(
    r"VK_(DRIVER_FILES|ICD_FILENAMES|ADD_DRIVER_FILES|LOADER_DRIVERS_(SELECT|DISABLE)|LOADER_DEVICE_SELECT)|MESA_VK_DEVICE_SELECT\w*"
    r"|NV_\w*(VERSION|PACKAGE|HEADERS)\w*"
    r"|(\w+_)?(SHADER|PIPELINE|DISK|GLSL)_(DISK_)?CACHE(_\w+)?"
    r"|MESA_LOG\w*|VK_LOADER_DEBUG"
    r"|GGML_VK_\w+"
)
"""Variables that don't change what a driver does, line by line: those that choose it, NVIDIA's container images', caches, logging,
llama.cpp's."""


def recorded_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a `run` record keeps: those that loaders, drivers and llama.cpp read.

    >>> recorded_environment({"HOME": "/root", "RADV_DEBUG": "nocache", "MY_DEBUG": "1", "radv_no_dcc": "true"})
    {'MY_DEBUG': '1', 'RADV_DEBUG': 'nocache', 'radv_no_dcc': 'true'}
    """
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith(_PREFIXES) or name.endswith(_SUFFIXES) or _DRIRC_OPTION.fullmatch(name)
    }


def driver_environment(run: Mapping[str, str], device: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that change what a driver does, of those in a run's record and in a device's, which override the run's.

    >>> driver_environment({"RADV_PERFTEST": "cswave32", "VK_DRIVER_FILES": "/a.json", "MESA_SHADER_CACHE_DIR": "/tmp"})
    {'RADV_PERFTEST': 'cswave32'}
    """
    merged = recorded_environment({**run, **(device or {})})
    return {name: value for name, value in merged.items() if not _NO_EFFECT_ON_DRIVERS.fullmatch(name)}


def _cpu() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor() or None
    models = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model", "Hardware")))
    return next(models, None) or platform.processor() or None


def _os() -> str | None:
    try:
        lines = Path("/etc/os-release").read_text(errors="replace").splitlines()
    except OSError:
        return platform.system() or None
    named = dict(line.split("=", 1) for line in lines if "=" in line)
    return named.get("PRETTY_NAME", "").strip("\"'") or platform.system() or None


def host() -> Host:
    """This machine."""
    return Host(cpu=_cpu(), os=_os(), kernel=platform.release() or None)


def run_record(argv: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> RunRecord:
    """A new run's record, with an id of its own; `argv` and `environment` are this process's unless given.

    The program's name is stored without its folder.
    """
    program, *arguments = sys.argv if argv is None else argv
    return RunRecord(
        run=str(uuid.uuid4()),
        tool=f"vkprobe {__version__}",
        argv=["vkprobe" if Path(program).name == "__main__.py" else Path(program).name, *arguments],
        host=host(),
        environment=recorded_environment(os.environ if environment is None else environment),
    )


def _chip(spec: DriverSpec) -> str | None:
    """The chip that a null device stands for: the one that its shim is asked for, else the one in the driver's name."""
    asked = next((spec.environment[row.variable] for row in FAMILIES.values() if row.variable in spec.environment), None)
    return asked or spec.name.partition(":")[2].partition("@")[0] or None


def device_record(run: str, spec: DriverSpec, facts: Mapping[str, Any]) -> DeviceRecord:
    """A device's record from its driver's worker's reply.

    A null device's chip is the one that was asked for: shims report the same device name and ids for many chips.
    """
    fields = dict(facts)
    index = fields.pop("index")
    fields["driver"] = {**fields["driver"], "icd": spec.icd or fields["driver"]["icd"]}
    if spec.null:
        fields["hardware"] = {**fields["hardware"], "chip": _chip(spec) or fields["hardware"]["chip"]}
        fields["driver"]["kernel_module"] = None
    fields |= {"environment": recorded_environment(spec.environment), "stack": "vulkan"}
    return msgspec.convert({**fields, "run": run, "device": f"{spec.name}/{index}", "null": spec.null, "kind": "device"}, DeviceRecord)
