"""Reads kernels/*/kernels.toml: which modules each shader is compiled to. kernels/README.md describes the format."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vkprobe.weights import WEIGHT_TYPES, WeightType

tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

FACTS = ("op", "path", "type", "accumulator", "tier", "reduce", "a", "b", "c", "saturating", "scope")
"""Facts of a module in the manifest, in its order; an axis with one of these names is a fact too."""
_INTERFACE = ("constants", "push", "bindings")
_CONTRIBUTIONS = ("defines", "features", "target", "maintenance1", "optimize")
_KERNEL_KEYS = {"name", "shader", "facts", "axes", "when", *_CONTRIBUTIONS}
_PLACEHOLDER = re.compile(r"\{(\w+)(?:\.(\w+))?\}")

Axes = dict[str, str]


class Variant(NamedTuple):
    """One module: a shader with its defines, and what the manifest says about it.

    Attributes:
        source: the shader, relative to kernels/.
        features: (struct, feature) pairs that the module needs beyond what its capabilities say.
        maintenance1: the module's NV_cooperative_matrix2 instructions become those of EXT_cooperative_matrix_maintenance1,
            which glslang does not know yet.
        optimize: whether spirv-opt runs.
        constants: names of the specialisation constants, by id.
        push: names of the words of push constants.
        bindings: what each binding is, by its number; empty for a number that the shader doesn't use.
    """

    name: str
    source: str
    defines: dict[str, str]
    facts: dict[str, Any]
    features: tuple[tuple[str, str], ...]
    target: str
    maintenance1: bool
    optimize: bool
    constants: tuple[str, ...]
    push: tuple[str, ...]
    bindings: tuple[str, ...]


def read(kernels: Path, types: Mapping[str, WeightType] = WEIGHT_TYPES) -> list[Variant]:
    """Every module that the families under `kernels` declare, for these weight types.

    Raises:
        ValueError: a file is no TOML, has an unknown key or word, or two modules have one name.
    """
    shared = _load(kernels / "kernels.toml") if (kernels / "kernels.toml").exists() else {}
    variants: dict[str, Variant] = {}
    for path in sorted(kernels.glob("*/kernels.toml")):
        for variant in _Family(path, shared, types).variants():
            if variant.name in variants:
                raise ValueError(f"{path}: two modules are named {variant.name}")
            variants[variant.name] = variant
    return list(variants.values())


def _load(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    return document


class _Family:
    """One kernels.toml, with the words of kernels/kernels.toml behind its own."""

    def __init__(self, path: Path, shared: dict[str, Any], types: Mapping[str, WeightType]) -> None:
        self.path = path
        self.folder = path.parent
        self.types = types
        document = _load(path)
        self.rows: list[dict[str, Any]] = document.pop("kernel", [])
        self.shaders: dict[str, dict[str, list[str]]] = document.pop("shader", {})
        self.words = {kind: {**shared.get(kind, {}), **document.pop(kind, {})} for kind in ("maps", "features", "lists")}
        self._known_keys("the file", document, set())
        for name, interface in self.shaders.items():
            self._known_keys(f"shader {name}", interface, set(_INTERFACE))

    def variants(self) -> Iterator[Variant]:
        for row in self.rows:
            self._known_keys(f"kernel {row.get('name')}", row, _KERNEL_KEYS)
            for axes in self._combinations(row.get("axes", {})):
                yield self._variant(row, axes)

    def _error(self, message: str) -> ValueError:
        return ValueError(f"{self.path}: {message}")

    def _known_keys(self, where: str, table: Mapping[str, Any], allowed: set[str]) -> None:
        if unknown := sorted(table.keys() - allowed):
            raise self._error(f"{where} has unknown keys: {', '.join(unknown)}")

    def _word(self, kind: str, name: str) -> Any:
        if name not in self.words[kind]:
            raise self._error(f"no [{kind}] {name}")
        return self.words[kind][name]

    def _combinations(self, axes: dict[str, Any]) -> list[Axes]:
        combinations: list[Axes] = [{}]
        for key, values in axes.items():
            names = key.split()
            combinations = [
                {**before, **dict(zip(names, value, strict=True))}
                for before in combinations
                for value in self._values(names, values, before)
            ]
        return combinations

    def _values(self, names: list[str], values: str | list[Any], before: Axes) -> list[list[str]]:
        """The values of an axis, each a list with one string for each of the axis's names."""
        if names == ["type"] and isinstance(values, str):
            return [[name] for name in self.types if self._selects(self._filled(values, before), name)]
        listed: list[Any] = self._word("lists", values) if isinstance(values, str) else values
        return [value if isinstance(value, list) else [value] for value in listed]

    def _selects(self, selector: str, name: str) -> bool:
        """Whether each term of a selector of weight types holds for the type `name`."""
        return all(self._holds(term, name) for term in selector.split())

    def _holds(self, term: str, name: str) -> bool:
        row = self.types[name]
        attribute, _, wanted = term.partition(":")
        if term == "every" or term == name:
            return True
        if term.endswith(".glsl"):
            return (self.folder.parent / "types" / name / term).exists()
        if hasattr(row, attribute):
            value = getattr(row, attribute)
            if not wanted:
                return bool(value)
            return wanted in value if isinstance(value, tuple) else wanted == str(value)
        if term in self.types:
            return False
        raise self._error(f"{term!r} is neither a weight type, nor a fact of its row in vkprobe/weights.py, nor a file of its folder")

    def _filled(self, text: str, axes: Axes) -> str:
        def value(match: re.Match[str]) -> str:
            axis, mapping = match[1], match[2]
            if axis not in axes:
                raise self._error(f"{text!r} names no axis: {axis}")
            if mapping is None:
                return axes[axis]
            words = self._word("maps", mapping)
            if axes[axis] not in words:
                raise self._error(f"[maps.{mapping}] lacks {axes[axis]!r}")
            return str(words[axes[axis]])

        return _PLACEHOLDER.sub(value, text)

    def _applies(self, when: dict[str, Any], axes: Axes) -> bool:
        for axis, wanted in when.items():
            if axis in _CONTRIBUTIONS:
                continue
            if axis not in axes:
                raise self._error(f"`when` names no axis: {axis}")
            if axis == "type" and isinstance(wanted, str):
                if not self._selects(self._filled(wanted, axes), axes["type"]):
                    return False
            elif axes[axis] not in ([wanted] if isinstance(wanted, str) else wanted):
                return False
        return True

    def _features(self, names: list[str], axes: Axes) -> Iterator[tuple[str, str]]:
        for name in names:
            filled = self._filled(name, axes)
            struct, dot, member = filled.partition(".")
            if dot:
                yield struct, member
            else:
                yield from self._features(self._word("features", filled), axes)

    def _variant(self, row: dict[str, Any], axes: Axes) -> Variant:
        name, shader = self._filled(row["name"], axes), row["shader"]
        interface = {**self.shaders.get("default", {}), **self.shaders.get(shader, {})}
        if missing := [key for key in _INTERFACE if key not in interface]:
            raise self._error(f"shader {shader} does not say its {', '.join(missing)}")
        merged: dict[str, Any] = {key: row[key] for key in _CONTRIBUTIONS if key in row}
        for when in row.get("when", []):
            if self._applies(when, axes):
                merged |= {key: when[key] for key in ("target", "maintenance1", "optimize") if key in when}
                merged["defines"] = {**merged.get("defines", {}), **when.get("defines", {})}
                merged["features"] = [*merged.get("features", []), *when.get("features", [])]
        facts = {key: self._filled(value, axes) if isinstance(value, str) else value for key, value in row["facts"].items()}
        facts |= {axis: value for axis, value in axes.items() if axis in FACTS}
        self._known_keys(f"facts of {name}", facts, set(FACTS))
        return Variant(
            name=name,
            source=f"{self.folder.name}/{shader}",
            defines={key: self._filled(value, axes) for key, value in merged.get("defines", {}).items()},
            facts={key: facts[key] for key in FACTS if key in facts},
            features=tuple(dict.fromkeys(self._features(merged.get("features", []), axes))),
            target=merged.get("target", "vulkan1.2"),
            maintenance1=merged.get("maintenance1", False),
            optimize=merged.get("optimize", True),
            **{key: tuple(interface[key]) for key in _INTERFACE},
        )
