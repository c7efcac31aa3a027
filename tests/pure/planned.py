"""Cells and plans of small requests, for tests."""

from __future__ import annotations

from typing import Any

from vkprobe import ops
from vkprobe.cell import Cell
from vkprobe.ops.base import Request
from vkprobe.ops.plan import Plan, plans
from vkprobe.records import DeviceRecord

Sizes = tuple[int, int, int]
"""M, N and K."""


def axes(op: str, sizes: Sizes) -> dict[str, int]:
    """The op's own axes among M, N and K."""
    values = dict(zip("mnk", sizes, strict=True))
    return {axis.name: values[axis.name] for axis in ops.find(op).axes}


def cells(device: DeviceRecord, op: str, *shapes: Sizes, **chosen: Any) -> list[Cell]:
    """The cells of a request for these shapes; `chosen` are fields of `Request`."""
    return ops.find(op).cells(Request(axes=[axes(op, sizes) for sizes in shapes], **chosen), device)


def planned(device: DeviceRecord, op: str, *shapes: Sizes, **chosen: Any) -> list[Plan]:
    """The plans of these cells."""
    return plans(cells(device, op, *shapes, **chosen), device)


def one(device: DeviceRecord, op: str, sizes: Sizes, **chosen: Any) -> Plan:
    """The plan of a request's only cell."""
    (plan,) = planned(device, op, sizes, **chosen)
    return plan
