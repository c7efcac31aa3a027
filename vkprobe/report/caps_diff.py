"""Differences between the facts of two devices, or of one under two drivers: appeared, vanished, changed; LLM inference first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Literal

import msgspec
from msgspec import Struct

from vkprobe.device_facts import VectorCombination
from vkprobe.records import DeviceRecord
from vkprobe.requirements import all_requirements
from vkprobe.requirements.facts import has_extension, lookup, version_of
from vkprobe.requirements.model import AnyOf, Condition, Extension, Feature, Property
from vkprobe.requirements.promotions import carriers
from vkprobe.results.values import extensions_of
from vkprobe.units import size

Section = Literal["identity", "tuple", "extension", "feature", "property", "queue", "heap"]
What = Literal["appeared", "vanished", "changed"]

_IDENTITY = re.compile(r"UUID|LUID|^deviceNodeMask$|^pci(Domain|Bus|Device|Function)$|^(has)?([Pp]rimary|[Rr]ender)(Major|Minor)?$")
_IDENTITY_MEMBERS = frozenset(
    {"apiVersion", "driverVersion", "driverID", "driverName", "driverInfo", "deviceName", "deviceID", "vendorID"}
    | {f"conformanceVersion.{part}" for part in ("major", "minor", "subminor", "patch")}
)
"""Properties whose meaning the record's `driver` and `hardware` hold in readable form."""
_COMPUTE_STAGE = 0x20
_CORE = re.compile(r"VkPhysicalDeviceVulkan1\dFeatures|VkPhysicalDeviceVulkan1\dProperties")
_RELEVANT = re.compile(
    r"cooperative_?(matrix|vector)|bfloat16|float8|float16|int8|int64|integer_?dot|float_?dot|microscaling|subgroup|8bit|16bit|64bit|long_?vector"
    r"|untyped_?pointers|vulkan_?memory_?model|buffer_?device_?address|pipeline_?executable|pipeline_?robustness|timestamp|maxStorageBufferRange"
    r"|maxComputeWorkGroup|maxComputeSharedMemory|maxBufferSize|maxMemoryAllocationSize|float_?controls|shaderDenorm|shaderRounding|maintenance4",
    re.IGNORECASE,
)
_GRAPHICS = re.compile(r"ray_?tracing|video|image|sample|texture|clip|stencil|ycbcr|cluster_?culling|UntypedPointersRay", re.IGNORECASE)


class Change(Struct, frozen=True, kw_only=True):
    """One difference.

    Attributes:
        what: `appeared` and `vanished` also of a feature that was off and is on, or the other way round.
        name: the extension, `struct.member`, or what the row is about, in words.
        before, after: None where there is none; a version, truth value, number, or words.
        relevant: whether it matters to LLM inference: a requirement names it, or its name says so.
    """

    section: Section
    what: What
    name: str
    before: Any
    after: Any
    relevant: bool = False


class Difference(Struct, frozen=True, kw_only=True):
    """Two devices and how they differ; `untold` lists, as `struct.member`, facts that only one of them reports."""

    before: DeviceRecord
    after: DeviceRecord
    changes: list[Change]
    untold: list[str]


def difference(before: DeviceRecord, after: DeviceRecord) -> Difference:
    """How `after` differs from `before`. Where one record doesn't say, nothing is claimed."""
    untold: list[str] = []
    changes = [
        *_identity(before, after),
        *_tuples(before, after, untold),
        *_extensions(before, after),
        *_members("feature", before, after, untold),
        *_members("property", before, after, untold),
        *_lists(before, after, untold),
    ]
    return Difference(before=before, after=after, changes=changes, untold=untold)


def _change(section: Section, name: str, before: Any, after: Any, relevant: bool | None = None) -> Change:
    what: What = "appeared" if before is None else "vanished" if after is None else "changed"
    return Change(
        section=section, what=what, name=name, before=before, after=after, relevant=is_relevant(name) if relevant is None else relevant
    )


@cache
def _required() -> frozenset[str]:
    """Every extension, and every `struct.member`, that a requirement of llama.cpp's paths names."""

    def names(conditions: Iterable[Condition]) -> Iterator[str]:
        for condition in conditions:
            if isinstance(condition, Extension):
                yield condition.name
            elif isinstance(condition, Feature):
                yield from (f"{struct}.{member}" for struct, member in condition.alternatives)
            elif isinstance(condition, Property):
                yield f"{condition.struct}.{condition.member}"
            elif isinstance(condition, AnyOf):
                for group in condition.groups:
                    yield from names(group)

    return frozenset(name for requirement in all_requirements() for name in names(requirement.conditions))


def is_relevant(name: str) -> bool:
    """Whether an extension or `struct.member` matters to LLM inference.

    >>> is_relevant("VK_KHR_cooperative_matrix"), is_relevant("VK_EXT_mesh_shader")
    (True, False)
    """
    return name in _required() or bool(_RELEVANT.search(name) and not _GRAPHICS.search(name))


def _identity(before: DeviceRecord, after: DeviceRecord) -> Iterator[Change]:
    for label, get in (
        ("device", lambda d: d.name),
        ("driver", lambda d: d.driver.name),
        ("driver version", lambda d: d.driver.info or d.driver.version),
        ("Vulkan", lambda d: d.driver.api),
        ("conformance", lambda d: d.driver.conformance),
        ("build id", lambda d: d.driver.build_id),
        ("kernel module", lambda d: d.driver.kernel_module),
        ("vendor and device", lambda d: f"{d.hardware.vendor_id:04x}:{d.hardware.device_id:04x}"),
        ("bus address", lambda d: d.hardware.pci),
        ("chip", lambda d: d.hardware.chip),
    ):
        old, new = get(before), get(after)
        if old != new:
            yield _change("identity", label, old, new, False)


def _extensions(before: DeviceRecord, after: DeviceRecord) -> Iterator[Change]:
    if not before.extensions or not after.extensions:
        return  # a file that doesn't say
    for name in sorted({*before.extensions, *after.extensions}):
        old, new = before.extensions.get(name), after.extensions.get(name)
        if old != new:
            yield _change("extension", name, old, new)


def _flat(structs: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Any]]:
    """(struct, member, value) of all, nested structs' members as `limits.x`."""
    for struct, members in structs.items():
        for member, value in members.items():
            if isinstance(value, Mapping):
                yield from ((struct, f"{member}.{inner}", v) for inner, v in value.items())
            else:
                yield struct, member, value


_ABSENT, _UNKNOWN = object(), object()


def _value(device: DeviceRecord, kind: str, struct: str, member: str) -> Any:
    """The value; _ABSENT where the device has no such struct; _UNKNOWN where it may have it and the record does not say."""
    structs = device.features if kind == "feature" else device.properties
    value = lookup(structs, struct, member)
    if value is None:
        # Promotion keeps names: what a file has only in the core struct, a driver reports in the extension's too, and the other way round.
        others = (members for name, members in structs.items() if bool(_CORE.fullmatch(name)) != bool(_CORE.fullmatch(struct)))
        value = next((members[member] for members in others if members.get(member) is not None), None)
    if value is not None:
        return value
    if struct in structs:
        return _UNKNOWN if member.partition(".")[0] in structs[struct] else _ABSENT
    if not device.extensions or any(name in device.extensions for name in extensions_of(struct)):
        return _UNKNOWN
    version, core = version_of(device.driver.api), re.search(r"Vulkan1(\d)(Features|Properties)$", struct)
    if core and (version is None or version >= (1, int(core[1]))):
        return _UNKNOWN
    return _UNKNOWN if not core and not extensions_of(struct) else _ABSENT


def _members(kind: Literal["feature", "property"], before: DeviceRecord, after: DeviceRecord, untold: list[str]) -> list[Change]:
    """Changed members of feature or property structs; what a core struct repeats of an extension's is listed once."""
    differences: list[Change] = []
    seen: set[tuple[str, str]] = set()
    for device in (after, before):
        for struct, member, _ in _flat(device.features if kind == "feature" else device.properties):
            if (struct, member) in seen or member in _IDENTITY_MEMBERS:
                continue
            seen.add((struct, member))
            old, new = (_value(d, kind, struct, member) for d in (before, after))
            name = f"{struct}.{member}"
            if _UNKNOWN in (old, new):
                untold.append(name)
                continue
            old, new = (None if v is _ABSENT else v for v in (old, new))
            if kind == "feature":
                old, new = (v or None for v in (old, new))
            if old != new:
                section: Section = "identity" if kind == "property" and _IDENTITY.search(member) else kind
                differences.append(_change(section, name, old, new, False if section == "identity" else _stage_relevance(member, old, new)))
    return [c for c in differences if not _repeats(c, differences)]


def _repeats(change: Change, differences: list[Change]) -> bool:
    """Whether a core struct's member only says again what an extension's struct says, there under its own name or the same."""
    struct, _, member = change.name.partition(".")
    if not _CORE.fullmatch(struct):
        return False
    names = {f"{name}.{field}" for name, field in carriers(struct, member)}
    return any(
        other is not change
        and (other.before, other.after) == (change.before, change.after)
        and (other.name in names or (other.name.endswith(f".{member}") and not _CORE.match(other.name)))
        for other in differences
    )


def _stage_relevance(member: str, old: Any, new: Any) -> bool | None:
    """Whether a property that lists shader stages changed for compute; None for any other property."""
    if not member.endswith("Stages") or not isinstance(old, int) or not isinstance(new, int):
        return None
    return bool((old ^ new) & _COMPUTE_STAGE)


def _in_words(row: Any) -> str:
    """A tuple in one line, as `16x16x16 f16,f16,f32->f32`; scope and saturation where they are not the usual ones."""
    if isinstance(row, VectorCombination):
        types = f"{row.input} as {row.input_interpretation}, matrix {row.matrix_interpretation}, bias {row.bias_interpretation}"
        return f"{types} -> {row.result}" + (" transposed" if row.transpose else "")
    get = row if isinstance(row, Mapping) else msgspec.structs.asdict(row)
    dimensions = "x".join(str(get[axis] if axis in get else get[f"{axis}_granularity"]) for axis in "mnk")
    words = [dimensions, f"{get['a']},{get['b']},{get['c']}->{get['result']}"]
    words += ["saturating"] if get["saturating"] else []
    words += [get["scope"]] if get["scope"] != "subgroup" else []
    invocations = get.get("workgroup_invocations") or get.get("invocations")
    words += [f"of {invocations}"] if invocations and get["scope"] == "workgroup" else []
    words += [f"subgroup size {get['subgroup_size']}"] if get.get("subgroup_size") else []
    return " ".join(words)


_QUERIES = {
    "khr": ("KHR tuple", "VK_KHR_cooperative_matrix"),
    "nv_flexible": ("NV flexible tuple", "VK_NV_cooperative_matrix2"),
    "ext": ("EXT tuple", "VK_EXT_cooperative_matrix_maintenance1"),
    "cooperative_vector": ("cooperative-vector combination", "VK_NV_cooperative_vector"),
}
"""A list of the record's `coopmat` -> what its rows are, and the extension without which there are none."""


def _rows(device: DeviceRecord, query: str) -> list[Any] | None:
    tuple_rows: list[Any] | None = getattr(device.coopmat, query)
    return [] if tuple_rows is None and has_extension(device, _QUERIES[query][1]) is False else tuple_rows


def _tuples(before: DeviceRecord, after: DeviceRecord, untold: list[str]) -> Iterator[Change]:
    """Tuples that one of them lacks, as sets; then what llama.cpp takes, and their order, which decides it."""
    for query, (label, _) in _QUERIES.items():
        old, new = _rows(before, query), _rows(after, query)
        if old is None or new is None:
            if old != new:
                untold.append(f"coopmat.{query}")
            continue
        was, now = Counter(map(_in_words, old)), Counter(map(_in_words, new))
        yield from (_change("tuple", f"{label} {row}", None, count, True) for row, count in (now - was).items())
        yield from (_change("tuple", f"{label} {row}", count, None, True) for row, count in (was - now).items())
        common = [[row for row in map(_in_words, rows) if was[row] == now[row]] for rows in (old, new)]
        if common[0] != common[1]:
            at = next(i for i, pair in enumerate(zip(*common, strict=True)) if pair[0] != pair[1])
            name = f"order of {label}s, from number {at + 1} of those that both have"
            shapes = {_first(device, "f32") for device in (before, after)}
            if query == "khr" and len(shapes) == 1:
                name += f" (llama.cpp takes {shapes.pop() or 'none'} either way)"
            yield _change("tuple", name, common[0][at], common[1][at], True)
    if before.coopmat.khr is None or after.coopmat.khr is None:
        return
    for accumulator in ("f32", "f16"):
        taken = [_first(d, accumulator) for d in (before, after)]
        if taken[0] != taken[1]:
            yield _change("tuple", f"shape that llama.cpp takes with {accumulator} accumulators", taken[0], taken[1], True)


def _first(device: DeviceRecord, accumulator: str) -> str | None:
    """The first subgroup-scope f16 shape of that accumulator among those of the first f16 shape of any, as llama.cpp takes it."""
    rows = [
        t for t in device.coopmat.khr or [] if t.scope == "subgroup" and t.a == t.b == "f16" and t.c == t.result and t.c in ("f16", "f32")
    ]
    shapes = [f"{t.m}x{t.n}x{t.k}" for t in rows]
    return next((shape for t, shape in zip(rows, shapes, strict=True) if t.c == accumulator and shape == shapes[0]), None)


def _queues(device: DeviceRecord) -> list[str] | None:
    if device.queues is None:
        return None
    return [f"{q.count} x {' '.join(q.flags)}, {q.timestamp_bits} timestamp bits" for q in device.queues]


def _heaps(device: DeviceRecord) -> list[str] | None:
    return None if device.heaps is None else [f"{size(h.bytes)} {'local' if h.device_local else 'host'}" for h in device.heaps]


def _lists(before: DeviceRecord, after: DeviceRecord, untold: list[str]) -> Iterator[Change]:
    """Queue families and heaps, by their place."""
    section: Section
    for section, label, rows in (("queue", "queue family", _queues), ("heap", "heap", _heaps)):
        old, new = rows(before), rows(after)
        if old is None or new is None:
            if old != new:
                untold.append(f"{section}s")
            continue
        for index in range(max(len(old), len(new))):
            pair = [rows[index] if index < len(rows) else None for rows in (old, new)]
            if pair[0] != pair[1]:
                yield _change(section, f"{label} {index}", pair[0], pair[1], section == "queue")
