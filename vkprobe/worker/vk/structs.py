"""Capability structs as ctypes classes, made from the generated registry when first asked for, and their values as plain data."""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, NamedTuple

from vkprobe.dependency import satisfied
from vkprobe.worker.vk import registry

_HEAD = re.compile(r"^(\w+) (\S+)(?: if (.+))?$")
_NAME = re.compile(r"(\w+)(?:\[(\w+)\])?$")
_BASE: dict[str, Any] = {
    "char": ctypes.c_char,
    "int32_t": ctypes.c_int32,
    "uint8_t": ctypes.c_uint8,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
}


class Member(NamedTuple):
    """A member: its C type, and its length: None for one value, a number for an array, a count member's name for a pointer."""

    type: str
    name: str
    length: int | str | None


class Layout(NamedTuple):
    """A struct of the registry; `stype` is None where it has no sType and pNext, `condition` empty where anybody may ask for it."""

    name: str
    stype: int | None
    condition: str
    body: str

    def members(self) -> list[Member]:
        """The members, in order, without sType and pNext."""
        members = []
        for run in filter(None, (part.strip() for part in self.body.split(";"))):
            ctype, _, names = run.partition(" ")
            for text in names.split(","):
                match = _NAME.match(text.strip())
                assert match, f"{self.name}: {run}"
                length = match[2]
                members.append(Member(ctype.rstrip("*"), match[1], int(length) if length and length.isdigit() else length))
        return members


def parse(text: str) -> Iterator[Layout]:
    """The structs of one section of the generated registry."""
    head: tuple[str, int | None, str] | None = None
    body: list[str] = []
    for line in text.splitlines():
        if line.startswith(" "):
            body.append(line)
            continue
        if head:
            yield Layout(*head, "".join(body))
        match = _HEAD.match(line)
        assert match, line
        head, body = (match[1], None if match[2] == "-" else int(match[2]), match[3] or ""), []
    if head:
        yield Layout(*head, "".join(body))


@cache
def features() -> dict[str, Layout]:
    """Every struct that extends VkPhysicalDeviceFeatures2, by name."""
    return {s.name: s for s in parse(registry.FEATURES)}


@cache
def properties() -> dict[str, Layout]:
    """Every struct that extends VkPhysicalDeviceProperties2, by name."""
    return {s.name: s for s in parse(registry.PROPERTIES)}


@cache
def _plain() -> dict[str, Layout]:
    return {s.name: s for s in parse(registry.PLAIN)}


def allowed(layouts: dict[str, Layout], names: Collection[str]) -> list[str]:
    """The structs that a device with these versions and extensions may be asked for."""
    return [s.name for s in layouts.values() if satisfied(s.condition, names)]


def layout(name: str) -> Layout:
    """The layout of any struct of the registry; raises KeyError for one that it does not hold."""
    entry = _plain().get(name) or features().get(name) or properties().get(name)
    if entry is None:
        raise KeyError(name)
    return entry


@cache
def _types() -> dict[str, Any]:
    types = dict(_BASE)
    below = ""
    for line in registry.TYPES.splitlines():
        if line.startswith(" "):
            types.update((name, _BASE[below]) for name in line.split())
        else:
            below = line.rstrip(":")
    return types


def _ctype(name: str) -> Any:
    return _types().get(name) or struct(name)


@cache
def struct(name: str) -> type[ctypes.Structure]:
    """The ctypes class of a struct, with sType and pNext where it has them."""
    entry = layout(name)
    fields: list[tuple[str, Any]] = []
    if entry.stype is not None:
        fields += [("sType", ctypes.c_int32), ("pNext", ctypes.c_void_p)]
    for member in entry.members():
        if member.length is None:
            fields.append((member.name, _ctype(member.type)))
        elif isinstance(member.length, int):
            fields.append((member.name, _ctype(member.type) * member.length))
        else:
            fields.append((member.name, ctypes.c_void_p))
    return type(name, (ctypes.Structure,), {"_fields_": fields})


def new(name: str, count: int | None = None) -> Any:
    """A zeroed struct, or an array of `count`, with sType set in every element."""
    stype = layout(name).stype
    value: Any = struct(name)() if count is None else (struct(name) * count)()
    if stype is not None:
        for one in [value] if count is None else value:
            one.sType = stype
    return value


def array_of(member: Member, count: int) -> Any:
    """A zeroed array for a pointer member to point at."""
    return (_types()[member.type] * count)() if member.type in _types() else new(member.type, count)


def number(value: float) -> float | str:
    """A float as records carry it: non-finite ones as "inf", "-inf", "nan"."""
    return value if math.isfinite(value) else str(value)


def numbered(section: str) -> dict[int, str]:
    """An enum section of the generated registry: value -> name."""
    return {int(value): name for value, _, name in (line.partition(" ") for line in section.splitlines())}


@cache
def _driver_ids() -> dict[int, str]:
    return numbered(registry.DRIVER_IDS)


def _value(member: Member, value: Any) -> Any:
    if member.type in ("float", "double"):
        return [number(v) for v in value] if member.length else number(value)
    if member.type == "char":
        return value.decode(errors="replace")
    if member.type == "uint8_t" and member.length:
        return bytes(value).hex()
    if member.type == "VkBool32":
        return bool(value)
    if member.type == "VkDriverId":
        return _driver_ids().get(value, value)
    if isinstance(value, ctypes.Structure):
        return plain(member.type, value)
    return list(value) if member.length else value


def pointers(name: str) -> list[Member]:
    """The pointer members of a struct, each with the name of its count."""
    return [m for m in layout(name).members() if isinstance(m.length, str)]


def plain(name: str, filled: ctypes.Structure, arrays: dict[str, Any] | None = None) -> dict[str, Any]:
    """Member values as JSON carries them.

    Flags and enums are integers (driverID its name where known), UUIDs and LUIDs hex, `char` arrays text, structs nested.
    `arrays` holds what pointer members point at; a pointer that is not among them is null.
    """
    result: dict[str, Any] = {}
    for member in layout(name).members():
        if isinstance(member.length, str):
            array = (arrays or {}).get(member.name)
            items = None if array is None else list(array)[: getattr(filled, member.length)]
            result[member.name] = None if items is None else [_value(member._replace(length=None), item) for item in items]
        else:
            result[member.name] = _value(member, getattr(filled, member.name))
    return result


def chain(names: Collection[str]) -> tuple[int, dict[str, Any]]:
    """Zeroed structs linked by pNext in this order: the address of the first (0 where there is none), and each by name.

    The caller keeps them alive.
    """
    by_name = {name: new(name) for name in names}
    head = 0
    for one in reversed(by_name.values()):
        one.pNext = head or None
        head = ctypes.addressof(one)
    return head, by_name
