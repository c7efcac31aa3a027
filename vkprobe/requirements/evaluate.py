"""One pure function: device facts and a requirement in, the gap between them out. Unknown is never "no"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import singledispatch
from typing import Any

import msgspec

from vkprobe.records import DeviceRecord
from vkprobe.requirements.facts import cannot_have, has_extension, lookup, version_of
from vkprobe.requirements.model import (
    AnyOf,
    ApiVersion,
    Condition,
    Extension,
    Feature,
    Gap,
    Missing,
    Property,
    Requirement,
    SubgroupSize,
    TupleMatch,
)
from vkprobe.requirements.promotions import PROVIDERS, base_name

Verdict = tuple["bool | None", tuple[Missing, ...]]
_MET: Verdict = (True, ())

FLAG_BITS = {
    "VK_SHADER_STAGE_COMPUTE_BIT": 0x20,
    "VK_SUBGROUP_FEATURE_BASIC_BIT": 0x1,
    "VK_SUBGROUP_FEATURE_VOTE_BIT": 0x2,
    "VK_SUBGROUP_FEATURE_ARITHMETIC_BIT": 0x4,
    "VK_SUBGROUP_FEATURE_BALLOT_BIT": 0x8,
    "VK_SUBGROUP_FEATURE_SHUFFLE_BIT": 0x10,
    "VK_SUBGROUP_FEATURE_SHUFFLE_RELATIVE_BIT": 0x20,
    "VK_SUBGROUP_FEATURE_CLUSTERED_BIT": 0x40,
    "VK_SUBGROUP_FEATURE_QUAD_BIT": 0x80,
}
"""Flags that requirements name: a driver's answer is a number, a Profiles file's a list of names."""

_TUPLE_EXTENSION = {"khr": "VK_KHR_cooperative_matrix", "nv_flexible": "VK_NV_cooperative_matrix2"}


def evaluate(device: DeviceRecord, requirement: Requirement) -> Gap:
    """The gap between `device` and `requirement`."""
    verdicts = [check(condition, device) for condition in requirement.conditions]
    return Gap(
        path=requirement.path,
        met=_all(met for met, _ in verdicts),
        missing=tuple(m for _, missing in verdicts for m in missing),
        held=sum(met is True for met, _ in verdicts),
        total=len(verdicts),
        part=_part(device, requirement),
    )


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    """Three-valued and: one "no" decides, one "unknown" leaves it open."""
    seen = list(verdicts)
    return False if False in seen else None if None in seen else True


def _part(device: DeviceRecord, requirement: Requirement) -> tuple[int, int] | None:
    if requirement.counted is None:
        return None
    extension = PROVIDERS[base_name(requirement.counted)].extension
    if extension is None or not has_extension(device, extension):
        return None
    own = [c for c in requirement.conditions if isinstance(c, Feature) and c.alternatives[0][0] == requirement.counted]
    return sum(check(c, device)[0] is True for c in own), len(own)


@singledispatch
def check(condition: Condition, device: DeviceRecord) -> Verdict:
    """Whether one condition holds (None: the facts don't say), and what is missing where it doesn't."""
    raise TypeError(f"no check for the condition {type(condition).__name__}")


@check.register
def _(condition: ApiVersion, device: DeviceRecord) -> Verdict:
    need, have = version_of(condition.need), version_of(device.driver.api)
    if need is not None and have is not None and have >= need:
        return _MET
    missing = Missing(kind="limit", name="apiVersion", need=condition.need, have=device.driver.api, source=condition.source)
    return None if have is None else False, (missing,)


@check.register
def _(condition: Extension, device: DeviceRecord) -> Verdict:
    have = has_extension(device, condition.name)
    if have:
        return _MET
    return have, (Missing(kind="extension", name=condition.name, need=True, have=have, source=condition.source),)


@check.register
def _(condition: Feature, device: DeviceRecord) -> Verdict:
    verdicts = [_feature(device, struct, member) for struct, member in condition.alternatives]
    if True in verdicts:
        return _MET
    met = None if None in verdicts else False
    name = " or ".join(f"{struct}.{member}" for struct, member in condition.alternatives)
    short = " or ".join(member.rpartition(".")[2] for _, member in condition.alternatives)
    extension = _extension(condition.alternatives[0][0])
    return met, (Missing(kind="feature", name=name, need=True, have=met, source=condition.source, short=short, extension=extension),)


def _extension(struct: str) -> str | None:
    """The extension that brings a struct."""
    provider = PROVIDERS.get(base_name(struct))
    return None if provider is None else provider.extension


def _feature(device: DeviceRecord, struct: str, member: str) -> bool | None:
    value = lookup(device.features, struct, member)
    if value is not None:
        return bool(value)
    return False if cannot_have(device, struct) else None


@check.register
def _(condition: Property, device: DeviceRecord) -> Verdict:
    have = lookup(device.properties, condition.struct, condition.member)
    met: bool | None
    if have is None:
        met = False if cannot_have(device, condition.struct) else None
        have = "no such struct" if met is False else None
    else:
        met = _satisfies(have, condition.need, condition.member)
    if met:
        return _MET
    kind = "limit" if _is_number(condition.need) else "property"
    missing = Missing(
        kind=kind,  # type: ignore[arg-type]
        name=f"{condition.struct}.{condition.member}",
        need=condition.need,
        have=have,
        source=condition.source,
        short=condition.member.rpartition(".")[2],
        extension=_extension(condition.struct),
    )
    return met, (missing,)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _satisfies(have: Any, need: Any, member: str) -> bool | None:
    if isinstance(need, tuple):
        if isinstance(have, int):
            return all(have & FLAG_BITS[flag] for flag in need) if all(flag in FLAG_BITS for flag in need) else None
        return set(need) <= set(have) if isinstance(have, Sequence) and not isinstance(have, str) else None
    if isinstance(need, bool):
        return bool(have) is need
    if _is_number(need):
        try:
            number = float(have)
        except (TypeError, ValueError):
            return None
        return bool(number <= need if member.rpartition(".")[2].startswith("min") else number >= need)
    return bool(have == need)


_SIZE_CONTROL = "VkPhysicalDeviceSubgroupSizeControlProperties"


@check.register
def _(condition: SubgroupSize, device: DeviceRecord) -> Verdict:
    low = lookup(device.properties, _SIZE_CONTROL, "minSubgroupSize")
    high = lookup(device.properties, _SIZE_CONTROL, "maxSubgroupSize")
    default = lookup(device.properties, "VkPhysicalDeviceSubgroupProperties", "subgroupSize")
    met: bool | None
    have: Any
    if low is not None and high is not None:
        # A range of one needs no control: every shader runs so.
        control = True if low == high else _feature(device, "VkPhysicalDeviceSubgroupSizeControlFeatures", "subgroupSizeControl")
        met = control if low <= condition.need <= high else False
        have = f"{low} to {high}" + ("" if control else ", subgroupSizeControl " + ("unknown" if control is None else "off"))
    else:
        met, have = (None if default is None else True if default == condition.need else None), default
        if met is None and default is not None and cannot_have(device, _SIZE_CONTROL):
            met = False
    if met:
        return _MET
    missing = Missing(kind="limit", name="subgroupSize", need=condition.need, have=have, source=condition.source)
    return met, (missing,)


def _fits(row: Mapping[str, Any], match: Mapping[str, Any], at_most: Mapping[str, int] | None = None) -> bool:
    for name, need in match.items():
        have = row.get(name)
        if have not in need if isinstance(need, (list, tuple)) else have != need:
            return False
    return all(row[name] <= bound for name, bound in (at_most or {}).items())


@check.register
def _(condition: TupleMatch, device: DeviceRecord) -> Verdict:
    listed = getattr(device.coopmat, condition.query)
    met: bool | None
    have: Any = None
    extension: str | None = None
    if not listed and has_extension(device, _TUPLE_EXTENSION[condition.query]) is False:
        extension = _TUPLE_EXTENSION[condition.query]
        met, have = False, f"no {extension}"
    elif listed is None:
        met = None
    else:
        rows = [msgspec.structs.asdict(row) for row in listed]
        fitting = [row for row in rows if _fits(row, condition.match, condition.at_most)]
        if condition.same_shape_as_first is not None:
            first = next((row for row in rows if _fits(row, condition.same_shape_as_first)), {})
            fitting = [row for row in fitting if all(row[axis] == first.get(axis) for axis in "mnk")]
        met = bool(fitting)
        have = None if met else _nearest(rows, condition)
    if met:
        return _MET
    need = ", ".join(f"{name} {_words(value)}" for name, value in condition.match.items())
    need += "".join(f", {name} <= {bound}" for name, bound in condition.at_most.items())
    missing = Missing(
        kind="tuple",
        name=condition.name,
        need=need,
        have=have,
        source=condition.source,
        extension=extension,
        at_most=condition.at_most,
    )
    return met, (missing,)


def _words(value: Any) -> str:
    return " or ".join(str(v) for v in value) if isinstance(value, (list, tuple)) else str(value).lower()


def _nearest(rows: Sequence[Mapping[str, Any]], condition: TupleMatch) -> str:
    """The nearest tuples that the device lists instead: those of the same scope and operand type, as `16x8x16 f16,f16->f32`."""
    if not rows:
        return "none at all"
    scope, operand = condition.match.get("scope"), condition.match.get("a")
    near = [row for row in rows if row["scope"] == scope]
    if not near:
        return f"{len(rows)}, none of {scope} scope"
    near = [row for row in near if operand is None or row["a"] == operand]
    if not near:
        return f"{len(rows)}, none with {operand} operands"
    prefix = "" if condition.query == "khr" else "_granularity"
    shown = [f"{'x'.join(str(r[axis + prefix]) for axis in 'mnk')} {r['a']},{r['b']}->{r['result']}" for r in near]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")


@check.register
def _(condition: AnyOf, device: DeviceRecord) -> Verdict:
    groups = []
    for group in condition.groups:
        verdicts = [check(c, device) for c in group]
        groups.append((_all(met for met, _ in verdicts), tuple(m for _, missing in verdicts for m in missing)))
    if any(met is True for met, _ in groups):
        return _MET
    met = None if any(met is None for met, _ in groups) else False
    return met, min((missing for _, missing in groups), key=len)
