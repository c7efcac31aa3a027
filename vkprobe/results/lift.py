"""Fields that records of older versions hold in words only, filled in when they are read.

This is the one place that reads names and sentences apart; everything else reads the fields.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from vkprobe import kernels
from vkprobe.records import LadderRecord, PipelineRecord, ResultRecord, Time, Unsteady

_SUBGROUP = re.compile(r"subgroup(\w+) at (\d+)")
_SATURATING = "AccumulatingSaturating"
_TILE = re.compile(r"([sml])\b(?: \d+x\d+ \d+x\d+ (\d+x\d+x\d+))?")
_GEMV = re.compile(r"(n\d+) .*?\b(\d+)/(\d+)\b")
_PEAK = re.compile(r"(\d+x\d+x\d+) ")
_UNSTEADY = (
    ("rounds-differ", re.compile(r"the rounds differ by (\S+)%")),
    ("scatter", re.compile(r"the samples scatter: the interval is \+-(\S+)%")),
    ("one-round", re.compile("only one round was measured")),
    ("few-rounds", re.compile(r"only (\d+) rounds were measured")),
    ("unsettled", re.compile(r"only (\d+) of (\d+) rounds had settled")),
    ("gpu-clock-high", re.compile(r"GPU time is (\S+) times the wall time of the same submits")),
    ("gpu-clock-low", re.compile(r"GPU time is only (\S+) of the wall time of the same submits")),
)
_SHARES = ("rounds-differ", "scatter")


def pipeline(record: PipelineRecord) -> PipelineRecord:
    """The record with its op and the parts of its tile.

    >>> old = PipelineRecord(run="r", device="d", kernel="gemm_q4_0_coopmat_f16", path="coopmat", type="q4_0", status="ok",
    ...                      tile="l 128x128 64x64 16x16x16 128/32")
    >>> new = pipeline(old)
    >>> new.family, new.tile_name, new.tuple
    ('gemm_*_coopmat_f16', 'l', '16x16x16')
    """
    if record.op is not None:
        return record
    kernel = kernels.kernels().get(record.kernel)
    fields: dict[str, Any] = {
        "op": kernel.op if kernel is not None and kernel.op else record.kernel.partition("_")[0],
        "family": record.kernel.replace(f"_{record.type}", "_*", 1) if record.type else record.kernel,
    }
    tile = record.tile or ""
    if match := _TILE.match(tile):
        fields.update(tile_name=match[1], tuple=match[2])
    elif match := _GEMV.match(tile):
        fields.update(tile_name=match[1], subgroups=int(match[2]) // max(1, int(match[3])))
    elif match := _PEAK.match(tile):
        fields["tuple"] = match[1]
    return replace(record, **fields)


def climb(record: LadderRecord) -> LadderRecord:
    """The record with its feature's struct, member and form."""
    if record.feature is None or record.member is not None:
        return record
    operation = _SUBGROUP.fullmatch(record.feature)
    if operation is not None:
        return replace(record, member=f"subgroup{operation[1]}", form=operation[1], subgroup_size=int(operation[2]))
    name, _, form = record.feature.partition(" ")
    struct, _, member = name.rpartition(".")
    return replace(
        record,
        struct=struct or None,
        member=member,
        form=form.replace(_SATURATING, "saturating ") or None,
        alone=form.startswith("beyond"),
        off=record.reason == f"{name} is off",
    )


def result(record: ResultRecord) -> ResultRecord:
    """The record with the cause of an unsteady time as data."""
    time = record.time
    if time is UNSET or time.steady or time.unsteady is not None or time.unsteady_because is None:
        return record
    cause = unsteady(time)
    return record if cause is None else replace(record, time=replace(time, unsteady=cause))


def unsteady(time: Time) -> Unsteady | None:
    """The cause and its numbers; None where this version doesn't know the sentence."""
    for cause, pattern in _UNSTEADY:
        match = pattern.fullmatch(time.unsteady_because or "")
        if match is not None:
            scale = 100 if cause in _SHARES else 1
            return Unsteady(cause=cause, numbers=tuple(float(number) / scale for number in match.groups()))
    return None
