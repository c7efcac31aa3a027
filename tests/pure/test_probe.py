"""A driver's failure is a sentence with a remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vkprobe.drivers import hardware, probe
from vkprobe.drivers.hardware import Node, absence
from vkprobe.drivers.probe import DriverOutcome, explain
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerFailed, WorkerLost

HEALTHY = {"loaded": True, "error": None, "entry": "vk_icdGetInstanceProcAddr", "negotiated": 0, "create_instance": True}


def driver(tmp: Path, library: str, **more: Any) -> DriverSpec:
    """A driver whose manifest names `library`."""
    path = tmp / "x_icd.json"
    path.write_text(json.dumps({"file_format_version": "1.0.1", "ICD": {"library_path": library, "api_version": "1.4.0"}}))
    return DriverSpec(name="x", icd=str(path), **more)


def incompatible() -> WorkerFailed:
    """The loader's answer after it dropped the driver, whatever the reason."""
    return WorkerFailed("vk", "vkCreateInstance gave VK_ERROR_INCOMPATIBLE_DRIVER", {"call": "vkCreateInstance", "result": -9})


@pytest.mark.parametrize(
    ("library", "diagnosis", "reason", "remedy"),
    [
        (
            "libGLX_nvidia.so.0",
            {**HEALTHY, "create_instance": False},
            r"no vkCreateInstance behind vk_icdGetInstanceProcAddr of libGLX_nvidia\.so\.0",
            r"libEGL_nvidia\.so\.0",
        ),
        ("libd.so", {**HEALTHY, "entry": None}, "exports no vk_icdGetInstanceProcAddr", "library_path"),
        (
            "libvulkan_radeon.so",
            {"loaded": False, "error": "libvulkan_radeon.so: cannot open shared object file: No such file or directory"},
            "library libvulkan_radeon.so is missing",
            "mesa-vulkan-drivers",
        ),
        (
            "libd.so",
            {"loaded": False, "error": "/lib/libc.so.6: version `GLIBC_2.99' not found (required by libd.so)"},
            r"can't be loaded: .*GLIBC_2\.99",
            "newer system",
        ),
    ],
)
def test_what_is_wrong_with_a_library_is_named(tmp_path: Path, library: str, diagnosis: dict[str, Any], reason: str, remedy: str) -> None:
    """The loader's answer is the same for all of them."""
    import re

    state, cause, to_do = explain(driver(tmp_path, library), incompatible(), diagnosis)
    assert state == "error"
    assert re.search(reason, cause)
    assert re.search(remedy, to_do or "")


def test_a_crash_the_loader_swallowed_is_reported(tmp_path: Path) -> None:
    """The second worker, which loads the library by hand, died of it."""
    lost = WorkerLost("crash", "killed by SIGSEGV", signal="SIGSEGV")
    assert explain(driver(tmp_path, "libd.so"), incompatible(), lost)[:2] == ("error", "crashed: killed by SIGSEGV")


def test_a_hang_says_in_which_call(tmp_path: Path) -> None:
    """The message also has the time waited."""
    state, reason, _ = explain(driver(tmp_path, "libd.so"), WorkerLost("timeout", "no answer within 8 s", during="vkCreateInstance"))
    assert (state, reason) == ("error", "hung in vkCreateInstance: no answer within 8 s")


def test_no_loader_names_what_to_fetch(tmp_path: Path) -> None:
    """Nothing is wrong with the driver then."""
    state, reason, remedy = explain(driver(tmp_path, "libd.so"), WorkerFailed("no-loader", "no loader"))
    assert state == "error"
    assert "no Vulkan loader" in reason
    assert "vkprobe drivers fetch" in (remedy or "")


@pytest.mark.parametrize("failure", [incompatible(), []], ids=["incompatible", "no-devices"])
def test_a_healthy_driver_without_hardware_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Any) -> None:
    """Told from the device nodes."""
    monkeypatch.setattr(hardware, "nodes", lambda kind: [])
    state, reason, _ = explain(driver(tmp_path, "libvulkan_radeon.so"), failure, HEALTHY)
    assert state == "no-device"
    assert "/dev/dri/renderD*" in reason
    assert "amdgpu" in reason


def test_a_driver_that_fails_on_its_own_hardware_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node is there, may be opened, and is this driver's."""
    monkeypatch.setattr(hardware, "nodes", lambda kind: [node("amdgpu")])
    state, reason, _ = explain(driver(tmp_path, "libvulkan_radeon.so"), incompatible(), HEALTHY)
    assert state == "error"
    assert "VK_ERROR_INCOMPATIBLE_DRIVER, though its device node is there (/dev/dri/renderD128)" in reason


def test_software_drivers_have_no_excuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """lavapipe needs no device node: without a device it has failed."""
    monkeypatch.setattr(hardware, "nodes", lambda kind: [])
    assert explain(driver(tmp_path, "libvulkan_lvp.so"), [], HEALTHY)[0] == "error"


def test_other_vulkan_errors_are_errors(tmp_path: Path) -> None:
    """Out of memory is not missing hardware."""
    failure = WorkerFailed("vk", "vkCreateInstance gave VK_ERROR_OUT_OF_HOST_MEMORY", {"call": "vkCreateInstance", "result": -1})
    assert explain(driver(tmp_path, "libvulkan_radeon.so"), failure, HEALTHY)[:2] == ("error", failure.reason)


def node(module: str, *, usable: bool = True, group: str = "render", path: str = "/dev/dri/renderD128") -> Node:
    """A render node."""
    return Node(path=path, group=group, usable=usable, module=module)


def test_a_node_without_permission_names_node_and_group() -> None:
    """The remedy is the group that owns it."""
    absent = absence("radeon", [node("amdgpu", usable=False, group="video")])
    assert absent is not None
    assert absent.reason == "no permission on its device node /dev/dri/renderD128"
    assert "usermod -aG video" in (absent.remedy or "")


def test_another_drivers_node_is_no_device() -> None:
    """An Intel GPU is nothing for RADV, whatever its permissions."""
    absent = absence("radeon", [node("i915", usable=False)])
    assert absent is not None
    assert "/dev/dri/renderD128 (i915)" in absent.reason


def test_nvidia_is_judged_by_its_own_node() -> None:
    """Render nodes of others don't count; the absent one is named."""
    absent = absence("nvidia", [])
    assert absent is not None
    assert "/dev/nvidiactl" in absent.reason


def test_exit_status_is_the_highest_that_applies() -> None:
    """5 without any device, 4 where a driver asked for failed, 0 where one merely has no hardware here."""
    ok, absent, bad = (DriverOutcome(spec=DriverSpec(name="x", icd=None), state=state) for state in ("ok", "no-device", "error"))
    assert probe.exit_status([ok, absent], asked=True) == 0
    assert probe.exit_status([ok, bad], asked=True) == 4
    assert probe.exit_status([ok, bad], asked=False) == 0
    assert probe.exit_status([bad, absent], asked=True) == 5
