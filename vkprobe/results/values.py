"""Values of other tools' files as device records carry them: flags and enumerations as numbers, bytes as hex, structs nested."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from vkprobe.results import registry
from vkprobe.results.document import Node

_NON_FINITE = ("inf", "-inf", "nan")
_DRIVER_ID = "VkDriverId"  # the one enumeration that records name


def _tables(section: str) -> dict[str, list[str]]:
    """Head lines of a section with the words indented below them."""
    table: dict[str, list[str]] = {}
    words: list[str] = []
    for line in section.splitlines():
        if line.startswith(" "):
            words += line.split()
        else:
            words = table[line] = []
    return table


@cache
def properties() -> dict[str, dict[str, str]]:
    """Property structs and those nested in them: {struct: {member: kind}}."""
    table: dict[str, dict[str, str]] = {}
    for struct, words in _tables(registry.PROPERTIES).items():
        kind = ""
        for word in words:
            if word.endswith(":"):
                kind = word[:-1]
            else:
                table.setdefault(struct, {})[word] = kind
    return table


@cache
def values(type: str) -> dict[str, int]:
    """Names and numbers of an enumeration or of flag bits."""
    words = _tables(registry.VALUES).get(type, [])
    return {name: int(number) for name, _, number in (word.partition("=") for word in words)}


@cache
def structs_of(extension: str) -> tuple[str, ...]:
    """The capability structs that an extension brings; none of one that is not known."""
    table = dict(line.split(" ", 1) for line in registry.EXTENSIONS.splitlines())
    return tuple(table.get(extension, "").split())


@cache
def extensions_of(struct: str) -> tuple[str, ...]:
    """The extensions that bring a capability struct; none of a core struct, or one that is not known."""
    return tuple(
        name for name, _, structs in (line.partition(" ") for line in registry.EXTENSIONS.splitlines()) if struct in structs.split()
    )


def struct(node: Node, name: str, *, spoken: bool = False) -> dict[str, Any]:
    """The members of the property struct `name` as records carry them; a member that is null or not known keeps what the file says.

    Args:
        node: the object.
        name: the struct's name; of one that is not known, members are taken as they are.
        spoken: numbers and truth values may be strings (`"64"`, `"0x400"`, `"true"`), as gpuinfo.org writes some of them.

    Raises:
        UsageError: a member is of another kind than the registry says.
    """
    kinds = properties().get(name, {})
    return {member: value(child, kinds.get(member, ""), spoken=spoken) for member, child in node.fields()}


def value(node: Node, kind: str, *, spoken: bool = False) -> Any:
    """A value of the given kind (as vkprobe/results/registry.py names them; empty: any) as records carry it; raises as `struct` does."""
    given = node.value
    if given is None or kind == "handle" or (spoken and given == "" and kind != "text"):
        return None
    if not kind:
        return given
    if kind in ("bytes[]", "bytes"):
        return _hex(node)
    if kind.endswith("[]"):
        return [] if given == "NULL" else [value(item, kind[:-2], spoken=spoken) for item in node.items()]
    if kind == "text":
        return "".join(c if c.isprintable() else "?" for c in node.text())  # it reaches terminals
    if kind == "bool":
        return boolean(node, spoken=spoken)
    if kind == "number":
        return number(node, spoken=spoken)
    if kind.startswith("&"):
        return _flags(node, kind[1:], spoken)
    if kind in properties():
        if spoken and isinstance(given, str) and kind == "VkConformanceVersion":
            return _version(node)
        return struct(node, kind, spoken=spoken)
    return _enumerant(node, kind, spoken)


def boolean(node: Node, *, spoken: bool = False) -> bool:
    """A truth value, which some tools write as 0 or 1; raises UsageError where it is none."""
    given = {"true": True, "false": False, "1": True, "0": False}.get(node.value, node.value) if spoken and _is_text(node) else node.value
    if given not in (0, 1) or isinstance(given, float):
        node.wrong("true or false")
    return bool(given)


def _is_text(node: Node) -> bool:
    return isinstance(node.value, str)


def number(node: Node, *, spoken: bool = False) -> int | float | str:
    """A number; non-finite ones as "inf", "-inf", "nan"; raises UsageError where it is none."""
    given = node.value
    if given in _NON_FINITE:
        return str(given)
    if spoken and isinstance(given, str):
        if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", given):
            return int(given, 16)
        if re.fullmatch(r"-?\d{1,20}", given):
            return int(given)
        if re.fullmatch(r"-?\d{1,40}(\.\d{1,40})?([eE][-+]?\d{1,3})?", given):
            return float(given)
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        node.wrong("a number")
    return given


def _hex(node: Node) -> str:
    if isinstance(node.value, str) and re.fullmatch(r"([0-9a-fA-F]{2})+", node.value):
        return node.value.lower()
    parts = [item.integer() for item in node.items()]
    if not all(0 <= part < 256 for part in parts):
        node.wrong("bytes, numbers from 0 to 255")
    return bytes(parts).hex()


def _flags(node: Node, type: str, spoken: bool) -> Any:
    """The number; a list with names that this registry does not know stays a list."""
    enumerants = values(type)
    if isinstance(node.value, list):
        names = [item.text() for item in node.items()]
        if any(name not in enumerants for name in names):
            return names
        bits = 0
        for name in names:
            bits |= enumerants[name]
        return bits
    if isinstance(node.value, str) and node.value in enumerants:
        return enumerants[node.value]
    flags = number(node, spoken=spoken)
    if not isinstance(flags, int):
        node.wrong(f"names of {type} in an array, or their number")
    return flags


def _enumerant(node: Node, type: str, spoken: bool) -> Any:
    """The number, of a driver id the name; a name that this registry does not know stays."""
    enumerants = values(type)
    if isinstance(node.value, str) and node.value.startswith("VK_"):
        return node.value if type == _DRIVER_ID else enumerants.get(node.value, node.value)
    given = number(node, spoken=spoken)
    if not isinstance(given, int):
        node.wrong(f"a name of {type}, or its number")
    if type == _DRIVER_ID:
        return next((name for name, one in enumerants.items() if one == given), given)
    return given


def _version(node: Node) -> dict[str, int]:
    match = re.fullmatch(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})", node.text())
    if match is None:
        node.wrong("a conformance version of four numbers")
    return dict(zip(("major", "minor", "subminor", "patch"), map(int, match.groups()), strict=True))


def queue_flags(node: Node) -> list[str]:
    """Queue flags, from names or a number, in the specification's names without `VK_QUEUE_` and `_BIT`; raises as `struct` does.

    Source: VkQueueFlagBits.
    """
    if isinstance(node.value, list):
        names = [item.text() for item in node.items()]
    else:
        bits, enumerants = node.integer(), {number: name for name, number in reversed(values("VkQueueFlagBits").items())}
        if not 0 <= bits < 1 << 32:
            node.wrong("VkQueueFlags")
        names = [enumerants.get(1 << i, hex(1 << i)) for i in range(32) if bits >> i & 1]
    return [name.replace("VK_QUEUE_", "").replace("_BIT", "") for name in names]


def words(struct: str, member: str, given: Any) -> str | None:
    """A property's flags or enumerants by name, without the type's prefix (`COMPUTE TASK_EXT`); None for what is neither.

    Args:
        struct: a property struct.
        member: its member; `limits.x` for one of a nested struct.
        given: the value as records carry it.
    """
    kind = properties().get(struct, {}).get(member.partition(".")[0], "")
    if "." in member:
        return words(kind, member.partition(".")[2], given)
    enumerants = values(kind.strip("&[]"))
    if not enumerants or not isinstance(given, (int, list)) or isinstance(given, bool):
        return None
    numbers = given if isinstance(given, list) else [given]
    if kind.startswith("&"):
        numbers = [1 << i for i in range(64) for number in numbers if isinstance(number, int) and number >> i & 1]
    names = {number: name for name, number in reversed(enumerants.items())}
    prefix = _common_words(list(enumerants))
    return " ".join(names.get(n, str(n)).removeprefix(prefix).replace("_BIT", "") for n in numbers) or "none"


def _common_words(names: list[str]) -> str:
    """The words that all names begin with.

    >>> _common_words(["VK_SHADER_STAGE_COMPUTE_BIT", "VK_SHADER_STAGE_ALL"])
    'VK_SHADER_STAGE_'
    """
    split = [name.split("_") for name in names]
    common = 0
    while len(names) > 1 and all(len(words) > common + 1 and words[common] == split[0][common] for words in split):
        common += 1
    return "".join(f"{word}_" for word in split[0][:common])
