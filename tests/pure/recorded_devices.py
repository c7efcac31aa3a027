"""The recorded devices, by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from vkprobe.ops.plan import Plan
from vkprobe.records import DeviceRecord
from vkprobe.results.store import read_records
from vkprobe.session.selection import compile_plans

NAMES = ("anv-bmg", "lvp", "nvk-172", "radv-gfx1201", "turnip-750")
RECORDED = Path(__file__).parent.parent / "recorded"


@cache
def recorded(name: str) -> DeviceRecord:
    """The device of a recorded `caps --json`."""
    (device,) = (r for r in read_records(RECORDED / f"caps-{name}.jsonl") if isinstance(r, DeviceRecord))
    return device


@cache
def full_plans(name: str) -> list[Plan]:
    """The plans of every pipeline that `compile --full` makes on a recorded device."""
    return compile_plans(recorded(name), full=True)


def with_properties(device: DeviceRecord, **members: Any) -> DeviceRecord:
    """`device` with these members in every property struct (and in its limits) that has them."""

    def changed(struct: dict[str, Any]) -> dict[str, Any]:
        return {name: members.get(name, changed(value) if isinstance(value, dict) else value) for name, value in struct.items()}

    return msgspec.structs.replace(device, properties={name: changed(struct) for name, struct in device.properties.items()})


def with_features(device: DeviceRecord, **members: bool) -> DeviceRecord:
    """`device` with these members in every feature struct that has them."""
    features = {name: {m: members.get(m, v) for m, v in struct.items()} for name, struct in device.features.items()}
    return msgspec.structs.replace(device, features=features)
