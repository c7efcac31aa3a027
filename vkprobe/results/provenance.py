"""Where records come from: the run, its machine and environment; and a device's record made of what its driver said."""

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

_TOLD_PREFIXES = (
    *("VK_", "MESA_", "RADV_", "ACO_", "AMD_", "ANV_", "INTEL_", "NAK_", "NVK_", "NV_", "TU_", "IR3_", "LP_"),
    *("GALLIUM_", "__GL_", "GGML_VK_", "LD_PRELOAD", "DRIRC"),
)
_TOLD_SUFFIXES = ("_DEBUG", "_PERFTEST")
# A Mesa option can be set by its own name in lower case (`radv_cooperative_matrix2_nv=true`), as drirc sets it.
_DRIRC_OPTION = re.compile(r"(radv|anv|nvk|tu|lvp|vk|mesa|hasvk|panvk|v3dv)_[a-z0-9_]+")


def told_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that can change what a driver does, as the `run` record tells them.

    >>> told_environment({"HOME": "/root", "RADV_DEBUG": "nocache", "MY_DEBUG": "1", "radv_no_dcc": "true"})
    {'MY_DEBUG': '1', 'RADV_DEBUG': 'nocache', 'radv_no_dcc': 'true'}
    """
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith(_TOLD_PREFIXES) or name.endswith(_TOLD_SUFFIXES) or _DRIRC_OPTION.fullmatch(name)
    }


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

    The program's name is told without its folder.
    """
    program, *arguments = sys.argv if argv is None else argv
    return RunRecord(
        run=str(uuid.uuid4()),
        tool=f"vkprobe {__version__}",
        argv=["vkprobe" if Path(program).name == "__main__.py" else Path(program).name, *arguments],
        host=host(),
        environment=told_environment(os.environ if environment is None else environment),
    )


def _chip(spec: DriverSpec) -> str | None:
    """The chip that a null device stands for: what its shim is told, whatever the driver is called, else what the name says."""
    told = next((spec.environment[row.variable] for row in FAMILIES.values() if row.variable in spec.environment), None)
    return told or spec.name.partition(":")[2].partition("@")[0] or None


def device_record(run: str, spec: DriverSpec, facts: Mapping[str, Any]) -> DeviceRecord:
    """A device's record from what its driver's worker replied.

    A null device's chip is the one that was asked for: shims report the same device name and ids for many chips.
    """
    told = dict(facts)
    index = told.pop("index")
    told["driver"] = {**told["driver"], "icd": spec.icd or told["driver"]["icd"]}
    if spec.null:
        told["hardware"] = {**told["hardware"], "chip": _chip(spec) or told["hardware"]["chip"]}
        told["driver"]["kernel_module"] = None
    return msgspec.convert({**told, "run": run, "device": f"{spec.name}/{index}", "null": spec.null, "kind": "device"}, DeviceRecord)
