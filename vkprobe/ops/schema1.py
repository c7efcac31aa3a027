"""Results of schema 1, lifted to schema 2 when they are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from vkprobe.cell import MATRIX_PATHS
from vkprobe.records import Check, Modes, Record, ResultRecord, Status, Time


class Result1(Record, frozen=True, kw_only=True, tag="result"):
    """A result of schema 1: `m`, `n`, `k` whatever the op, and a variant whether the op has one or not."""

    device: str
    op: str
    kernel: str
    tier: str
    residency: str
    path: str
    type: str
    accumulator: str
    tuple: str | None
    m: int
    n: int
    k: int
    tile: str | None = None
    split_k: int | None = None
    aligned: bool | None = None
    subgroup_size: int | None = None
    spirv_sha: str | None = None
    robust: bool | None = None
    float_controls: Modes | None = None
    status: Status
    reason: str | None = None
    compile_s: float | None = None
    working_set_bytes: int | None = None
    time: Time | UnsetType = UNSET
    flops_per_s: float | UnsetType = UNSET
    bytes_per_s: float | UnsetType = UNSET
    interrupted: bool = False
    peak_share: float | UnsetType | None = UNSET
    check: Check | UnsetType = UNSET
    partial_samples_s: list[list[float]] | UnsetType = UNSET


_COPY_MODES = {
    "copy_shader": "shader",
    "read_shader": "read",
    "copy_device": "device",
    "copy_to_host": "to-host",
    "copy_from_host": "from-host",
}


def _product(r: Result1) -> dict[str, Any]:
    return {"axes": {"m": r.m, "n": r.n, "k": r.k}}


def _dequant(r: Result1) -> dict[str, Any]:
    return {"axes": {"m": r.m, "k": r.k}, "accumulator": None}


def _convert(r: Result1) -> dict[str, Any]:
    return {"axes": {"n": r.n, "k": r.k}, "accumulator": None}


def _copy(r: Result1) -> dict[str, Any]:
    mode = _COPY_MODES.get(r.kernel, r.kernel)
    none = dict.fromkeys(("path", "type", "accumulator", "tier", "residency"))
    return {**none, "axes": {"bytes": 4 * r.k}, "mode": mode}


def _peak(r: Result1) -> dict[str, Any]:
    kind = r.type
    if r.path in MATRIX_PATHS:  # only the kernel's name has both operands' types: peak_coopmat_A_B_C
        kind = ",".join(dict.fromkeys(r.kernel.split("_")[2:4]))
    return {"axes": {"workgroups": r.m, "invocations": r.n, "multiply_adds": r.k}, "type": kind, "tier": None, "residency": None}


_LIFTS: dict[str, Callable[[Result1], dict[str, Any]]] = {"dequant": _dequant, "convert": _convert, "copy": _copy, "peak": _peak}


def lift(record: Result1) -> ResultRecord:
    """The record as schema 2 has it."""
    fields = {name: getattr(record, name) for name in record.__struct_fields__ if name not in ("m", "n", "k")}
    return ResultRecord(**{**fields, **_LIFTS.get(record.op, _product)(record)})


decoder: msgspec.json.Decoder[Result1] = msgspec.json.Decoder(Result1, strict=False)
