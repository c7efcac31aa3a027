"""Requirements from their JSON files: the shape of Vulkan-Profiles, plus a `vkprobe` key for what that shape has no words for.

`capabilities.<block>.{extensions,features,properties}` and `profiles.<name>` are as the Khronos schema has them; a nested
list among a profile's `capabilities` means any one of those blocks, and `profiles` names requirements that are included.
The `vkprobe` key holds `path`, `order`, `group` (see `Requirement`), `counted`, `tuples` (see `TupleMatch`) and `sources`
(extension, feature, member or `api-version` -> where llama.cpp asks for it; `*` for the rest). A new requirement is one new file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from vkprobe.decoding import json_fault
from vkprobe.errors import UsageError
from vkprobe.requirements.model import (
    AnyOf,
    ApiVersion,
    Condition,
    Extension,
    Feature,
    Property,
    Requirement,
    RequirementGroup,
    SubgroupSize,
    TupleMatch,
)

FOLDER = Path(__file__).parent


class _Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    extensions: dict[str, int] = {}
    features: dict[str, dict[str, bool]] = {}
    properties: dict[str, dict[str, Any]] = {}


class _Profile(msgspec.Struct, frozen=True, rename={"api_version": "api-version"}):
    version: int
    api_version: str
    label: str
    description: str
    capabilities: list[str | list[str]]
    profiles: list[str] = []


class _Sidecar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str
    order: int
    sources: dict[str, str]
    group: RequirementGroup = "path"
    counted: str | None = None
    tuples: list[dict[str, Any]] = []


class _File(msgspec.Struct, frozen=True):
    capabilities: dict[str, _Block]
    profiles: dict[str, _Profile]
    vkprobe: _Sidecar


def requirements(folder: Path = FOLDER) -> tuple[Requirement, ...]:
    """The requirements of llama.cpp's paths in a folder, in the order of tables; raises as `all_requirements` does."""
    return tuple(r for r in all_requirements(folder) if r.group == "path")


@cache
def all_requirements(folder: Path = FOLDER) -> tuple[Requirement, ...]:
    """Every requirement of a folder, those of parts, tiles and extensions included.

    Raises:
        UsageError: a file is not a requirement, or includes one that isn't there.
    """
    files = {path: _read(path) for path in sorted(folder.glob("*.json"))}
    by_profile = {name: file for file in files.values() for name in file.profiles}
    try:
        requirements = [_requirement(file, by_profile) for file in files.values()]
    except KeyError as error:
        raise UsageError(f"{folder}: a requirement names the block or profile {error}, which is not there") from None
    return tuple(sorted(requirements, key=lambda r: r.order))


def requirement(path: str) -> Requirement:
    """The requirement of one path, tile or extension.

    Raises:
        UsageError: there is none of that name.
    """
    for candidate in all_requirements():
        if candidate.path == path:
            return candidate
    raise UsageError(f"no requirement for the path {path}; there are {', '.join(r.path for r in all_requirements())}")


def _read(path: Path) -> _File:
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise UsageError(f"{path}: not a requirement file: {json_fault(path.read_bytes(), _File)}") from None
    if len(file.profiles) != 1:
        raise UsageError(f"{path}: one profile expected, {len(file.profiles)} found")
    return file


def _requirement(file: _File, by_profile: Mapping[str, _File]) -> Requirement:
    (name, profile), sidecar = next(iter(file.profiles.items())), file.vkprobe
    conditions = [c for included in profile.profiles for c in _requirement(by_profile[included], by_profile).conditions]
    conditions.append(ApiVersion(need=profile.api_version.rpartition(".")[0], source=_source(sidecar, "api-version")))
    for entry in profile.capabilities:
        if isinstance(entry, str):
            conditions += _conditions(file.capabilities[entry], sidecar)
        else:
            conditions.append(AnyOf(groups=tuple(tuple(_conditions(file.capabilities[block], sidecar)) for block in entry)))
    conditions += [msgspec.convert(entry, TupleMatch) for entry in sidecar.tuples]
    once = [c for i, c in enumerate(conditions) if c not in conditions[:i]]  # two included files may include the same third
    return Requirement(
        path=sidecar.path,
        label=profile.label,
        description=profile.description,
        profile=name,
        conditions=tuple(once),
        counted=sidecar.counted,
        order=sidecar.order,
        group=sidecar.group,
        includes=tuple(by_profile[included].vkprobe.path for included in profile.profiles),
    )


def _source(sidecar: _Sidecar, name: str) -> str:
    return sidecar.sources.get(name) or sidecar.sources["*"]


def _conditions(block: _Block, sidecar: _Sidecar) -> list[Condition]:
    conditions: list[Condition] = [Extension(name=name, source=_source(sidecar, name)) for name in block.extensions]
    for struct, members in block.features.items():
        conditions += [Feature(alternatives=((struct, member),), source=_source(sidecar, member)) for member in members]
    for struct, members in block.properties.items():
        for member, need in _flat(members):
            wanted = tuple(need) if isinstance(need, list) else need
            conditions.append(Property(struct=struct, member=member, need=wanted, source=_source(sidecar, member)))
    return conditions


def _flat(members: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Members, those of nested structs as `limits.x`."""
    flat: list[tuple[str, Any]] = []
    for member, need in members.items():
        flat += [(f"{member}.{inner}", v) for inner, v in _flat(need)] if isinstance(need, Mapping) else [(member, need)]
    return flat


def kernel_requirement(
    kernel: str,
    features: Sequence[Sequence[tuple[str, str]]],
    *,
    source: str,
    tuples: Sequence[TupleMatch] = (),
    shared_memory_bytes: int | None = None,
    workgroup_invocations: int | None = None,
    subgroup_size: int | None = None,
    api_version: str | None = None,
) -> Requirement:
    """Requirement of one compiled kernel.

    Args:
        kernel: its name.
        features: for each SPIR-V capability, the (struct, feature) alternatives of which one must be on.
        source: where the need comes from (the SPIR-V module).
        tuples: cooperative-matrix tuples that it uses.
        shared_memory_bytes: what its workgroup takes, in B.
        workgroup_invocations: the size of its workgroup.
        subgroup_size: the size it is compiled for; None where any does.
        api_version: the lowest API version that takes its SPIR-V version (`1.2`).
    """
    conditions: list[Condition] = [ApiVersion(need=api_version, source=source)] if api_version else []
    conditions += [Feature(alternatives=tuple(alternatives), source=source) for alternatives in features]
    for member, need in (
        ("limits.maxComputeSharedMemorySize", shared_memory_bytes),
        ("limits.maxComputeWorkGroupInvocations", workgroup_invocations),
    ):
        if need is not None:
            conditions.append(Property(struct="VkPhysicalDeviceProperties", member=member, need=need, source=source))
    if subgroup_size is not None:
        conditions.append(SubgroupSize(need=subgroup_size, source=source))
    return Requirement(path=kernel, label=kernel, conditions=(*conditions, *tuples))


def coopmat_tuple(m: int, n: int, k: int, a: str, accumulator: str, *, source: str) -> TupleMatch:
    """The predicate "a subgroup-scope m x n x k tuple, a,a->accumulator, without saturation"."""
    return TupleMatch(
        name=f"{m}x{n}x{k} {a},{a}->{accumulator}",
        query="khr",
        match={
            "m": m,
            "n": n,
            "k": k,
            "a": a,
            "b": a,
            "c": accumulator,
            "result": accumulator,
            "saturating": False,
            "scope": "subgroup",
        },
        source=source,
    )
