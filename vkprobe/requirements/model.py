"""Types of a requirement: conditions on device facts, each with its source."""

from __future__ import annotations

from typing import Any, Literal, Union

from msgspec import Struct

MissingKind = Literal["extension", "feature", "property", "tuple", "limit"]
RequirementGroup = Literal["path", "part", "tile", "extension"]


class Missing(Struct, frozen=True, kw_only=True):
    """One condition that is not met, or not known to be.

    Attributes:
        name: the extension, `struct.member`, or the tuple in words.
        need: what is asked for.
        have: what the device has; None where its facts don't say.
        source: where the need comes from.
        short: the name without structs, for tables; the name itself where it is empty.
        extension: the extension that brings it, of a feature or property; of a tuple the one that isn't listed.
        at_most: of a tuple, the upper bounds of its granularities.
    """

    kind: MissingKind
    name: str
    need: Any
    have: Any
    source: str
    short: str = ""
    extension: str | None = None
    at_most: dict[str, int] = {}


class ApiVersion(Struct, frozen=True, kw_only=True):
    """The device's API version is at least `need` (`1.2`)."""

    need: str
    source: str


class Extension(Struct, frozen=True, kw_only=True):
    """The device lists an extension by name (being core is not enough: llama.cpp looks for the name)."""

    name: str
    source: str


class Feature(Struct, frozen=True, kw_only=True):
    """At least one of some (struct, feature) alternatives is on."""

    alternatives: tuple[tuple[str, str], ...]
    source: str


class Property(Struct, frozen=True, kw_only=True):
    """A property is what is needed.

    A bool must be equal; of flags all that are named must be set; a number must be at least `need`, or at most where
    the member's name begins with `min`, as limits of the specification go.
    """

    struct: str
    member: str
    need: bool | int | float | str | tuple[str, ...]
    source: str


class SubgroupSize(Struct, frozen=True, kw_only=True):
    """Compute shaders can run with exactly this subgroup size."""

    need: int
    source: str


class TupleMatch(Struct, frozen=True, kw_only=True):
    """At least one cooperative-matrix tuple of a query fits.

    Attributes:
        query: the list of the device record's `coopmat` that is searched.
        match: fields and the values they must have; of a list, any.
        at_most: fields and their upper bounds (granularities).
        same_shape_as_first: the tuple must also have the m, n, k of the first tuple that fits this (as llama.cpp takes it).
    """

    name: str
    query: Literal["khr", "nv_flexible"]
    match: dict[str, Any]
    at_most: dict[str, int] = {}
    same_shape_as_first: dict[str, Any] | None = None
    source: str


class AnyOf(Struct, frozen=True, kw_only=True):
    """At least one of several groups of conditions holds in full."""

    groups: tuple[tuple[Condition, ...], ...]


Condition = Union[ApiVersion, Extension, Feature, Property, SubgroupSize, TupleMatch, AnyOf]


class Requirement(Struct, frozen=True, kw_only=True):
    """Conditions that a kernel path puts on a device.

    Attributes:
        path: its short name (`coopmat2`); for a kernel, the kernel's.
        profile: the name of its Vulkan profile; None for a kernel.
        counted: the feature struct whose members "n of m" counts, where a driver may have the path in part.
        order: where it stands in tables.
        group: `path` of llama.cpp, `part` that adds to another path, `tile` that a path takes where it fits, or `extension`
            that llama.cpp does not use yet.
        includes: the paths whose conditions are among its own.
    """

    path: str
    label: str
    description: str = ""
    profile: str | None = None
    conditions: tuple[Condition, ...] = ()
    counted: str | None = None
    order: int = 0
    group: RequirementGroup = "path"
    includes: tuple[str, ...] = ()


class Gap(Struct, frozen=True, kw_only=True):
    """How a device stands to a requirement.

    Attributes:
        met: None where the facts don't say.
        missing: every condition that is not met (or not known to be: `have` is None), in the requirement's order.
        held: how many of `total` conditions are met.
        part: (met, of) of the features of the path's own struct, where the driver offers that struct's extension; else None.
    """

    path: str
    met: bool | None
    missing: tuple[Missing, ...]
    held: int
    total: int
    part: tuple[int, int] | None = None


def comes_with(missing: Missing, extensions: set[str]) -> bool:
    """Whether a missing condition is part of an extension that is missing as a whole."""
    return missing.extension is not None and missing.extension in extensions
