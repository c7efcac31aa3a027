"""Devices for tests of llama.cpp's rules: recorded ones, and limits that are NVIDIA's but for what a test changes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from vkprobe.device_facts import Coopmat
from vkprobe.llama.device import Limits, Vendor
from vkprobe.records import DeviceRecord

NAMES = (
    "anv-bmg",
    "lvp",
    "nvidia-h200",
    "nvk-172",
    "radv-gfx1201",
    "radv-navi31-mesa-25.0",
    "radv-navi31-mesa-26.1",
    "turnip-750",
)
RECORDED = Path(__file__).resolve().parents[2] / "recorded"

LIMITS = Limits(
    vendor=Vendor.NVIDIA,
    driver_id="VK_DRIVER_ID_NVIDIA_PROPRIETARY",
    architecture="other",
    cores=132,
    coopmat=True,
    matrices=True,
    bf16_matrices=True,
    matrix=(16, 16, 16),
    f16_accumulator=True,
    int8_matrix=(16, 16, 32),
    f16=True,
    subgroup=32,
    subgroup_min=32,
    subgroup_max=32,
    required_sizes=(32, 32),
    full_subgroups=True,
    arithmetic=True,
    clusters=True,
    shared_memory=49152,
    workgroup_invocations=1024,
    max_groups_x=65535,
    rounding_f16=True,
    denormals_f16=True,
    robustness=True,
)
MATRIX = (16, 16, 16)
RDNA3: dict[str, Any] = {
    "vendor": Vendor.AMD,
    "driver_id": "VK_DRIVER_ID_MESA_RADV",
    "architecture": "amd-rdna3",
    "subgroup": 64,
    "subgroup_max": 64,
    "required_sizes": (32, 64),
    "int8_matrix": MATRIX,
}
BARE: dict[str, Any] = {"coopmat": False, "matrices": False, "bf16_matrices": False, "matrix": None, "int8_matrix": None}
RDNA2: dict[str, Any] = {**RDNA3, **BARE, "architecture": "amd-rdna2"}
GCN: dict[str, Any] = {**RDNA3, **BARE, "architecture": "amd-gcn", "subgroup_min": 64, "required_sizes": (64, 64)}
AMD_CLOSED: dict[str, Any] = {**RDNA3, "driver_id": "VK_DRIVER_ID_AMD_PROPRIETARY"}
AMDVLK: dict[str, Any] = {**RDNA3, "driver_id": "VK_DRIVER_ID_AMD_OPEN_SOURCE"}
INTEL: dict[str, Any] = {
    "vendor": Vendor.INTEL,
    "driver_id": "VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA",
    "architecture": "intel-xe2",
    "subgroup_min": 16,
    "required_sizes": (16, 32),
    "matrix": (8, 16, 16),
}
QUALCOMM: dict[str, Any] = {"vendor": Vendor.QUALCOMM, "driver_id": "VK_DRIVER_ID_QUALCOMM_PROPRIETARY"}


def device_limits(**changed: Any) -> Limits:
    """NVIDIA's limits but for what is changed."""
    return replace(LIMITS, **changed)


@cache
def recorded(name: str) -> DeviceRecord:
    """The device of a recorded `caps --json`."""
    lines = (RECORDED / f"caps-{name}.jsonl").read_bytes().splitlines()
    (line,) = (line for line in lines if json.loads(line)["kind"] == "device")
    return msgspec.json.decode(line, type=DeviceRecord)


def with_properties(device: DeviceRecord, **members: Any) -> DeviceRecord:
    """`device` with these members in every property struct (and in its limits) that has them."""

    def changed(struct: dict[str, Any]) -> dict[str, Any]:
        return {name: members.get(name, changed(value) if isinstance(value, dict) else value) for name, value in struct.items()}

    return replace(device, properties={name: changed(struct) for name, struct in device.properties.items()})


def with_features(device: DeviceRecord, **members: bool) -> DeviceRecord:
    """`device` with these members in every feature struct that has them."""
    features = {name: {m: members.get(m, v) for m, v in struct.items()} for name, struct in device.features.items()}
    return replace(device, features=features)


def without(device: DeviceRecord, *extensions: str) -> DeviceRecord:
    """`device` without some extensions and their tuples."""
    kept = {name: version for name, version in device.extensions.items() if name not in extensions}
    tuples = Coopmat(khr=None, nv_flexible=None, ext=None) if "VK_KHR_cooperative_matrix" in extensions else device.coopmat
    return replace(device, extensions=kept, coopmat=tuples)


def with_extensions(device: DeviceRecord, *extensions: str) -> DeviceRecord:
    """`device` with some extensions besides."""
    return replace(device, extensions={**device.extensions, **dict.fromkeys(extensions, 1)})


def with_driver(device: DeviceRecord, driver_id: str, /, **fields: Any) -> DeviceRecord:
    """`device` under another driver."""
    return replace(device, driver=replace(device.driver, id=driver_id), **fields)
