"""Writes the checked-in modules that come from the Khronos registry: `python -m tools.registry [--check]`.

Development only: it needs `vulkan-object` (dependency group `dev`), which takes seconds to load; vkprobe itself never does.
`--check` writes nothing and ends with status 1 where a file differs from what would be written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vulkan_object import get_vulkan_object

ROOT = Path(__file__).resolve().parent.parent
STRUCTS_PATH = ROOT / "vkprobe/worker/vk/registry.py"
SPIRV_PATH = ROOT / "vkprobe/spirv_tables.py"
FILES_PATH = ROOT / "vkprobe/results/registry.py"

_WIDTH = 120
_EXTENDED = ("VkPhysicalDeviceFeatures2", "VkPhysicalDeviceProperties2")
_PLAIN = (
    # Asked for by vkGetPhysicalDeviceFeatures and vkGetPhysicalDeviceProperties, and the rows of array queries.
    "VkPhysicalDeviceFeatures",
    "VkPhysicalDeviceProperties",
    "VkCooperativeMatrixPropertiesKHR",
    "VkCooperativeMatrixFlexibleDimensionsPropertiesNV",
    "VkPhysicalDeviceCooperativeMatrixInfo2EXT",
    "VkCooperativeMatrixProperties2EXT",
    "VkCooperativeVectorPropertiesNV",
)
_C_TYPES = ("char", "int32_t", "uint8_t", "uint32_t", "int64_t", "uint64_t", "size_t", "float", "double")
_BASE_TYPES = {"VkFlags": "uint32_t", "VkFlags64": "uint64_t", "VkDeviceSize": "uint64_t", "VkBool32": "uint32_t"}

_STRUCTS_DOC = '''"""Capability structs of the Vulkan registry {version}. Written by `python -m tools.registry`, never by hand.

A struct's head line is its name, its sType (`-` where it has none) and, after `if`, when a device may be asked for it:
versions and extensions, `,` is or, `+` is and. Its members follow, as in C; a pointer's count member stands in brackets.
TYPES gives the C type below each Vulkan type that is no struct.
"""
'''
_SPIRV_DOC = '''"""Conditions for a device to run SPIR-V, Vulkan registry {version}. Written by `python -m tools.registry`, never by hand.

One alternative a line, any of which is enough: `NAME: TERM if CONDITION`; vkprobe/spirv_enables.py reads it.
Structs have their canonical names; where a promoted struct repeats a member of an older one, both are alternatives.
STRUCT_ALIASES: an older name of a struct and the canonical one.
"""
'''
_FILES_DOC = '''"""The Vulkan registry {version} for readers of other tools' files. Written by `python -m tools.registry`, never by hand.

EXTENSIONS: an extension and the capability structs that it brings.
PROPERTIES: a property struct (or one nested in it) and its members by kind: number, bool, text, bytes, handle, the name of an
enumeration, of flags (`&`) or of a nested struct; `[]` marks arrays.
VALUES: an enumeration or flags of those, and its values by name.
"""
'''


def struct_condition(struct: Any) -> str:
    """When a device may be asked for `struct`: versions and extensions, `,` or, `+` and.

    `definingRequirements` names only the origin of the canonical name (and what else must be there with it);
    `extensions` also those that know the struct under an older name.
    """
    terms = [f"({name}+{also})" if also else name for name, also in struct.definingRequirements.items()]
    origins = set(struct.definingRequirements)
    terms += [name for name in struct.extensions if name not in origins]
    return terms[0].strip("()") if len(terms) == 1 else ",".join(terms)


def _wrapped(items: Iterable[str], indent: str) -> Iterator[str]:
    line = indent
    for item in items:
        if len(line) + len(item) > _WIDTH and line.strip():
            yield line.rstrip()
            line = indent
        line += item + " "
    yield line.rstrip()


class StructWriter:
    """Collects structs, the structs nested in them, and the plain types of their members."""

    def __init__(self, vk: Any) -> None:
        self.vk = vk
        self.stypes = {f.name: f.value for f in vk.enums["VkStructureType"].fields}
        self.types: dict[str, set[str]] = {}
        self.nested: dict[str, Any] = {}

    def _note_type(self, name: str) -> None:
        vk = self.vk
        if name in _C_TYPES:
            return
        if name in vk.structs:
            struct = vk.structs[name]
            if struct.union:
                raise NotImplementedError(f"{name}: unions are not handled")
            if name not in self.nested:
                self.nested[name] = struct
            return
        if name in _BASE_TYPES:
            below = _BASE_TYPES[name]
        elif name in vk.flags:
            below = "uint64_t" if vk.flags[name].bitWidth == 64 else "uint32_t"
        elif name in vk.bitmasks:
            below = "uint64_t" if vk.bitmasks[name].bitWidth == 64 else "uint32_t"
        elif name in vk.enums:
            below = "int32_t"
        elif name in vk.handles:
            below = "uint64_t"  # pointers and 64-bit numbers alike on every machine that vkprobe runs on
        else:
            raise NotImplementedError(f"type {name} is not handled")
        self.types.setdefault(below, set()).add(name)

    def _member(self, member: Any) -> str:
        if member.bitFieldWidth or len(member.fixedSizeArray) > 1:
            raise NotImplementedError(f"{member.cDeclaration.strip()}: bit fields and arrays of arrays are not handled")
        if member.pointer:
            if not member.length or member.fullType.count("*") != 1:
                raise NotImplementedError(f"{member.cDeclaration.strip()}: a pointer without a count is not handled")
            return f"{member.name}[{member.length}]"
        if member.fixedSizeArray:
            size = member.fixedSizeArray[0]
            return f"{member.name}[{size if size.isdigit() else self.vk.constants[size].value}]"
        return str(member.name)

    def lines(self, struct: Any, conditional: bool) -> Iterator[str]:
        """The struct's head line and its members."""
        stype = self.stypes[struct.sType] if struct.sType else "-"
        condition = struct_condition(struct) if conditional else ""
        yield f"{struct.name} {stype}" + (f" if {condition}" if condition else "")
        runs: list[tuple[str, list[str]]] = []
        for member in struct.members:
            if struct.sType and member.name in ("sType", "pNext"):
                continue
            self._note_type(member.type)
            ctype = member.type + ("*" if member.pointer else "")
            if not runs or runs[-1][0] != ctype:
                runs.append((ctype, []))
            runs[-1][1].append(self._member(member))
        words: list[str] = []
        for ctype, names in runs:
            first, *others = [f"{name}," for name in names[:-1]] + [f"{names[-1]};"]
            words += [f"{ctype} {first}", *others]
        yield from _wrapped(words, "  ")


def structs_module(vk: Any) -> str:
    """Text of the struct module: all that extends Features2 or Properties2, the structs of `_PLAIN`, and what is nested in them."""
    writer = StructWriter(vk)
    sections: dict[str, list[str]] = {}
    module_structs: set[str] = set()
    for title, root in zip(("FEATURES", "PROPERTIES"), _EXTENDED, strict=True):
        lines: list[str] = []
        for struct in sorted((s for s in vk.structs.values() if root in s.extends), key=lambda s: str(s.name)):
            module_structs.add(struct.name)
            lines += writer.lines(struct, conditional=True)
        sections[title] = lines
    for name in _PLAIN:
        writer.nested[name] = vk.structs[name]
    lines = []
    while waiting := sorted(set(writer.nested) - module_structs):
        for name in waiting:
            module_structs.add(name)
            lines += writer.lines(vk.structs[name], conditional=False)
    sections["PLAIN"] = lines
    sections["TYPES"] = []
    for below, names in sorted(writer.types.items()):
        sections["TYPES"] += [f"{below}:", *_wrapped(sorted(names), "  ")]
    sections["DRIVER_IDS"] = [f"{f.value} {f.name}" for f in vk.enums["VkDriverId"].fields]
    sections["COMPONENT_TYPES"] = [f"{f.value} {f.name}" for f in vk.enums["VkComponentTypeKHR"].fields]
    sections["SCOPES"] = [f"{f.value} {f.name}" for f in vk.enums["VkScopeKHR"].fields]
    sections["QUEUE_FLAGS"] = [f"{f.value} {f.name}" for f in vk.bitmasks["VkQueueFlagBits"].flags]
    return _module(_STRUCTS_DOC, vk, sections)


def _module(doc: str, vk: Any, sections: dict[str, list[str]]) -> str:
    text = "# ruff: noqa: E501\n" + doc.format(version=vk.headerVersionComplete)
    text += f'\nVERSION = "{vk.headerVersionComplete}"\n'
    for title, lines in sections.items():
        body = "\n".join(lines)
        text += f'\n{title} = """\\\n{body}\n"""\n'
    return text


def _any_of(one: str, other: str) -> str:
    """The narrower of two conditions where one contains the other, else both of them, joined by `+`."""
    a, b = set(one.split(",")), set(other.split(","))
    if a <= b:
        return one
    if b <= a:
        return other
    if all(name.startswith("VK_VERSION") for name in (one, other)) and len(a) == len(b) == 1:
        return max(one, other)  # the newer version contains the older
    return "+".join(f"({c})" if "," in c else c for c in (one, other))


def _enable_lines(vk: Any, spirv: Any, canonical: dict[str, str]) -> Iterator[str]:
    bits = {name: f.value for mask in vk.bitmasks.values() for f in mask.flags for name in (f.name, *f.aliases)}

    def located(struct_name: str, member_name: str, test: str, requires: str) -> Iterator[str]:
        struct = vk.structs[canonical.get(struct_name, struct_name)]
        condition = struct_condition(struct)
        if struct.name == "VkPhysicalDeviceFeatures":
            condition = "VK_VERSION_1_0"
        elif condition:
            requires = _any_of(condition, requires)
        yield f"{struct.name}.{member_name}{test} if {requires or condition}"
        member = next(m for m in struct.members if m.name == member_name)
        older_name = getattr(member.capabilityAlias, "struct", None)  # else an extension, which the registry lists as well
        if older_name:
            older = vk.structs[canonical.get(older_name, older_name)]
            yield f"{older.name}.{member.capabilityAlias.member}{test} if {struct_condition(older)}"

    for enable in spirv.enable:
        if enable.version:
            yield enable.version
        elif enable.extension:
            yield enable.extension
        elif enable.struct:
            yield from located(enable.struct, enable.feature, "", enable.requires)
        elif enable.value == "VK_TRUE":
            yield from located(enable.property, enable.member, "", enable.requires)
        else:
            yield from located(enable.property, enable.member, f" & {bits[enable.value]}", enable.requires)


def spirv_module(vk: Any) -> str:
    """Text of the SPIR-V module: alternatives for each capability and SPIR-V extension, and the structs' older names."""
    canonical = {alias: s.name for s in vk.structs.values() for alias in s.aliases}
    sections: dict[str, list[str]] = {"CAPABILITIES": [], "EXTENSIONS": []}
    for spirv in sorted(vk.spirv, key=lambda s: str(s.name)):
        title = "CAPABILITIES" if spirv.capability else "EXTENSIONS"
        sections[title] += [f"{spirv.name}: {line}" for line in dict.fromkeys(_enable_lines(vk, spirv, canonical))]
    extends = {s.name for s in vk.structs.values() if set(_EXTENDED) & set(s.extends)}
    sections["STRUCT_ALIASES"] = sorted(f"{alias} {name}" for alias, name in canonical.items() if name in extends)
    return _module(_SPIRV_DOC, vk, sections)


def _kind(vk: Any, member: Any) -> str:
    """The kind of value that a member holds, named as in FILES_PATH's PROPERTIES."""
    name: str = member.type
    many = bool(member.pointer or member.fixedSizeArray)
    if name == "char":
        return "text"
    if name == "uint8_t" and many:
        return "bytes"
    if name in vk.structs or name in vk.enums:
        kind = name
    elif name in vk.flags:
        kind = f"&{vk.flags[name].bitmaskName}" if vk.flags[name].bitmaskName else "number"
    elif name in vk.bitmasks:
        kind = f"&{name}"
    elif name in vk.handles:
        kind = "handle"
    else:
        kind = "bool" if name == "VkBool32" else "number"
    return kind + "[]" * many


def files_module(vk: Any) -> str:
    """Text of the module for readers of other tools' files."""
    capabilities = [s for s in vk.structs.values() if set(_EXTENDED) & set(s.extends)]
    extensions: dict[str, set[str]] = {}
    for struct in capabilities:
        for name in re.findall(r"VK_(?!VERSION_)\w+", struct_condition(struct)):
            extensions.setdefault(name, set()).add(struct.name)
    waiting = [vk.structs["VkPhysicalDeviceProperties"], *(s for s in capabilities if _EXTENDED[1] in s.extends)]
    members: dict[str, list[str]] = {}
    values: dict[str, Any] = {}
    while waiting:
        struct = waiting.pop()
        by_kind: dict[str, list[str]] = {}
        for member in struct.members:
            if struct.sType and member.name in ("sType", "pNext"):
                continue
            kind = _kind(vk, member)
            bare = kind.strip("&[]")
            by_kind.setdefault(kind, []).append(member.name)
            if bare in vk.structs and bare not in members:
                waiting.append(vk.structs[bare])
            elif bare in vk.bitmasks:
                values[bare] = vk.bitmasks[bare].flags
            elif bare in vk.enums:
                values[bare] = vk.enums[bare].fields
        words = [word for kind, names in by_kind.items() for word in (f"{kind}:", *names)]
        members[struct.name] = [struct.name, *_wrapped(words, "  ")]
    sections = {
        "EXTENSIONS": [f"{name} {' '.join(sorted(structs))}" for name, structs in sorted(extensions.items())],
        "PROPERTIES": [line for _, lines in sorted(members.items()) for line in lines],
        "VALUES": [],
    }
    for name, fields in sorted(values.items()):
        words = [f"{alias}={field.value}" for field in fields for alias in (field.name, *field.aliases)]
        sections["VALUES"] += [name, *_wrapped(words, "  ")]
    return _module(_FILES_DOC, vk, sections)


def generate() -> dict[Path, str]:
    """Every generated file's path and text, from the installed `vulkan-object`."""
    vk = get_vulkan_object()
    return {STRUCTS_PATH: structs_module(vk), SPIRV_PATH: spirv_module(vk), FILES_PATH: files_module(vk)}


def main(argv: list[str]) -> int:
    """Write the files, or with `--check` only compare them."""
    stale = []
    for path, text in generate().items():
        if path.exists() and path.read_text() == text:
            continue
        stale.append(str(path.relative_to(ROOT)))
        if "--check" not in argv:
            path.write_text(text)
    if stale:
        print(("differs from the registry: " if "--check" in argv else "written: ") + ", ".join(stale))
    return 1 if stale and "--check" in argv else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
