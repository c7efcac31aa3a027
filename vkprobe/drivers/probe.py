"""Whether drivers work: one request to a worker each, and for every one that fails the reason and what to do about it.

The Vulkan loader drops a driver without a word, so a driver that failed is loaded again by hand in a second worker.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from vkprobe.drivers import hardware, null
from vkprobe.drivers.launch import ask_all
from vkprobe.drivers.manifests import ManifestFault, read, short_name
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import EXIT_DRIVER, EXIT_NO_DEVICE, EXIT_OK, DriverError, WorkerFailed, WorkerLost
from vkprobe.protocol import Diagnose, Enumerate, Request
from vkprobe.records import DriverRecord, DriverState

TIMEOUT_S = 8.0
_PARALLEL = 8
_INCOMPATIBLE, _INIT_FAILED = -9, -3
_GET_LOADER = "run `vkprobe drivers fetch`, or install the distribution's loader (Debian, Ubuntu: libvulkan1; others: vulkan-loader)"
_DEBUG = "report it to the driver's developers; a `launcher` in vkprobe.toml starts it under a debugger"

_PYTHON = (
    f"the driver was never loaded: check PYTHONPATH and vkprobe's packages (`{sys.executable} -m pip check`), "
    "and `launcher`, `preload` and `env` where vkprobe.toml has them"
)

PACKAGES: tuple[tuple[str, str], ...] = (
    (r"lib(GLX|EGL)_nvidia|libnvidia-|nvoptix", "the NVIDIA driver's user-space libraries (Debian: nvidia-vulkan-icd)"),
    (r"libvulkan_(lvp|radeon|intel|nouveau|freedreno|asahi|virtio|gfxstream|broadcom|panfrost|powervr)", "mesa-vulkan-drivers"),
    (r"libvulkan\.so", "libvulkan1 (others: vulkan-loader)"),
    (r"libLLVM", "the LLVM library that this driver was built with (Debian: libllvm19 and the like)"),
    (r"libxcb-(\w+)", r"libxcb-\1 (Debian: libxcb-\1-0)"),
    (r"libxcb\.", "libxcb1"),
    (r"libX11-xcb", "libx11-xcb1"),
    (r"libX11", "libx11-6"),
    (r"libXext", "libxext6"),
    (r"libwayland-client", "libwayland-client0"),
    (r"libdrm_(\w+)", r"libdrm-\g<1>"),
    (r"libdrm\.", "libdrm2"),
    (r"libelf", "libelf1"),
    (r"libexpat", "libexpat1"),
    (r"libz\.", "zlib1g"),
    (r"libzstd", "libzstd1"),
    (r"libxshmfence", "libxshmfence1"),
)
"""Soname pattern -> the package that brings it, as Debian and most others name it."""


class Device(Struct, frozen=True, kw_only=True):
    """A device as a driver lists it; `index` counts in the driver's own order."""

    index: int
    name: str
    type: str
    api: str
    driver_id: int | str | None
    vendor_id: int | None
    device_id: int | None


class DriverOutcome(Struct, frozen=True, kw_only=True):
    """A driver's state and devices: `ok`, `no-device` (nothing for it in this machine, or no permission) or `error`."""

    spec: DriverSpec
    state: DriverState
    reason: str | None = None
    remedy: str | None = None
    devices: list[Device] = []


def probe(specs: Sequence[DriverSpec]) -> list[DriverOutcome]:
    """Each driver's state and devices, in the order of `specs`; the slowest costs 8 s, and all run at once."""
    outcomes = []
    for outcome, reply in ask(specs, Enumerate()):
        if outcome.state == "ok":
            outcome = msgspec.structs.replace(outcome, devices=msgspec.convert(reply, list[Device]))
        outcomes.append(outcome)
    return outcomes


def ask(specs: Sequence[DriverSpec], request: Request, *, timeout: float = TIMEOUT_S) -> list[tuple[DriverOutcome, Any]]:
    """One request to a fresh worker of every driver; each driver's state with the reply, None where there is none.

    An empty reply counts as no device. `timeout` is in s. Never raises for a driver that fails.
    """
    healthy = [spec for spec in specs if spec.fault is None]
    replies = ask_all([(spec, request) for spec in healthy], timeout=timeout, parallel=_PARALLEL)
    outcomes = iter(explain_all(list(zip(healthy, replies, strict=True))))
    answers: list[tuple[DriverOutcome, Any]] = []
    for spec in specs:
        if spec.fault is not None:
            answers.append((DriverOutcome(spec=spec, state="error", reason=spec.fault, remedy=spec.remedy), None))
        else:
            answers.append(next(outcomes))
    return answers


def explain_all(replies: Sequence[tuple[DriverSpec, Any]]) -> list[tuple[DriverOutcome, Any]]:
    """The outcome for each driver, from its reply or the exception that stands for it; failed ones are loaded again by hand."""
    silent = [spec for spec, reply in replies if _needs_diagnosis(reply)]
    asked = [(spec, Diagnose(library=library)) for spec in silent if (library := _library(spec))]
    diagnoses = dict(zip((id(spec) for spec, _ in asked), ask_all(asked, timeout=TIMEOUT_S / 2, parallel=_PARALLEL), strict=True))
    outcomes: list[tuple[DriverOutcome, Any]] = []
    for spec, reply in replies:
        if isinstance(reply, DriverError) or not reply:
            state, reason, remedy = explain(spec, reply, diagnoses.get(id(spec)))
            outcomes.append((DriverOutcome(spec=spec, state=state, reason=reason, remedy=remedy), None))
        else:
            outcomes.append((DriverOutcome(spec=spec, state="ok"), reply))
    return outcomes


def _needs_diagnosis(reply: Any) -> bool:
    return not reply if not isinstance(reply, DriverError) else isinstance(reply, WorkerFailed) and reply.code == "vk"


def _library(spec: DriverSpec) -> str | None:
    try:
        return read(Path(spec.icd)).library if spec.icd else None
    except ManifestFault:
        return None  # it broke since the driver was found: then there is only the loader's error to report


def explain(spec: DriverSpec, failure: Any, diagnosis: Any = None) -> tuple[DriverState, str, str | None]:
    """State, reason and remedy of a driver that gave no device.

    `failure` is the exception, or the empty list of devices; `diagnosis` the reply to `diagnose`, or the exception it ended in.
    """
    if isinstance(failure, WorkerLost):
        return _lost(spec, failure)
    if isinstance(diagnosis, WorkerLost):
        return _lost(spec, diagnosis)
    if isinstance(failure, WorkerFailed):
        if failure.code == "no-loader":
            return "error", "no Vulkan loader (libvulkan.so.1) on this machine", _GET_LOADER
        if failure.code == "no-start":
            tail = str(failure.detail["stderr_tail"])
            return ("error", *null.unknown_chip(spec, tail)) if _unknown_chip(spec, tail) else ("error", failure.reason, _PYTHON)
        if failure.code == "internal" and failure.reason.startswith(("ImportError", "ModuleNotFoundError")):
            return "error", f"vkprobe's worker failed: {failure.reason}", _PYTHON
        if failure.code != "vk":
            return "error", failure.reason, None
    elif isinstance(failure, DriverError):
        return "error", str(failure), "check `launcher` in vkprobe.toml" if spec.launcher else None
    broken = _broken(spec, diagnosis) if isinstance(diagnosis, dict) else None
    return broken or _without_device(spec, failure)


def _unknown_chip(spec: DriverSpec, tail: str) -> bool:
    return spec.null and re.search(r"unrecognized|Failed to find|[Uu]nknown (GPU|platform|chip)", tail) is not None


def _lost(spec: DriverSpec, lost: WorkerLost) -> tuple[DriverState, str, str | None]:
    during = f" in {lost.during}" if lost.during else ""
    last = (lost.stderr_tail.strip().splitlines() or [""])[-1].strip()[:200]
    if lost.what == "timeout":
        return "error", f"hung{during}: {lost.reason}", _DEBUG
    if _unknown_chip(spec, lost.stderr_tail):
        return "error", *null.unknown_chip(spec, lost.stderr_tail)
    said = f" (it last printed: {last})" if last and last not in lost.reason else ""
    return "error", f"crashed{during}: {lost.reason}{said}", _DEBUG


def _broken(spec: DriverSpec, diagnosis: dict[str, Any]) -> tuple[DriverState, str, str | None] | None:
    """State, reason and remedy for a broken driver library; None where nothing is wrong with it."""
    library = _library(spec)
    if not diagnosis["loaded"]:
        return "error", *_not_loaded(str(library), diagnosis["error"])
    if diagnosis["entry"] is None:
        return "error", f"{library} exports no vk_icdGetInstanceProcAddr: it is no Vulkan driver", "correct the manifest's library_path"
    if not diagnosis["create_instance"]:
        reason = f"no vkCreateInstance behind {diagnosis['entry']} of {library}"
        if "libGLX_nvidia" in str(library):
            reason += " (NVIDIA's GLX library offers it only beside an X server's libraries)"
            copy = "nvidia_egl_icd.json"
            remedy = f"libEGL_nvidia.so.0 is the same driver without X: `sed s/libGLX/libEGL/ {spec.icd} > {copy}`, then --driver ./{copy}"
            return "error", reason, remedy
        return "error", reason, _DEBUG
    return None


def _not_loaded(library: str, error: str) -> tuple[str, str]:
    """Reason and remedy from the dynamic linker's words.

    >>> _not_loaded("/d/libd.so", "libxcb-randr.so.0: cannot open shared object file: No such file or directory")
    ('library libxcb-randr.so.0, which /d/libd.so needs, is missing', 'install libxcb-randr (Debian: libxcb-randr-0)')
    """
    match = re.match(r"(\S+): cannot open shared object file: No such file", error)
    if match is None:
        remedy = "it was built for another machine or a newer system: rebuild it, or use this system's own package"
        return f"library {library} can't be loaded: {error}", remedy
    missing = match[1]
    needed = "" if missing == library else f", which {library} needs,"
    for pattern, package in PACKAGES:
        package_match = re.match(pattern, Path(missing).name)
        if package_match:
            return f"library {missing}{needed} is missing", f"install {package_match.expand(package)}"
    return f"library {missing}{needed} is missing", "install the package that brings it, or put its folder into LD_LIBRARY_PATH"


def _without_device(spec: DriverSpec, failure: Any) -> tuple[DriverState, str, str | None]:
    said = failure.reason if isinstance(failure, WorkerFailed) else "it lists no device"
    if isinstance(failure, WorkerFailed) and failure.detail.get("result") not in (_INCOMPATIBLE, _INIT_FAILED):
        return "error", said, _DEBUG
    if spec.null:
        return "error", *null.unknown_chip(spec)
    kind = hardware.kind(_library(spec) or short_name(Path(spec.icd or "")))
    absent = hardware.absence(kind, hardware.nodes(kind))
    if absent:
        return "no-device", absent.reason, absent.remedy
    there = ", ".join(node.path for node in hardware.nodes(kind))
    return "error", f"{said}, though its device node is there ({there})" if there else said, _DEBUG


def exit_status(outcomes: Sequence[DriverOutcome], *, asked: bool) -> int:
    """The contract's exit status: 5 where no driver has a device, 4 where one that was asked for failed, else 0."""
    if not any(one.state == "ok" for one in outcomes):
        return EXIT_NO_DEVICE
    return EXIT_DRIVER if asked and any(one.state == "error" for one in outcomes) else EXIT_OK


def record(outcome: DriverOutcome, run: str) -> DriverRecord:
    """The driver's record in run `run`."""
    devices = [f"{outcome.spec.name}/{device.index}" for device in outcome.devices]
    return DriverRecord(
        run=run,
        driver=outcome.spec.name,
        icd=outcome.spec.icd,
        state=outcome.state,
        reason=outcome.reason,
        remedy=outcome.remedy,
        devices=devices,
    )
