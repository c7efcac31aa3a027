"""The kernel build: modules up to date, declarations that agree with the modules, and only what changed compiled."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.pure.spirv_interface import interface
from tools import kernels as tool
from tools import permutations
from vkprobe.kernels import kernels
from vkprobe.weights import WEIGHT_TYPES


def test_checked_in_modules_are_up_to_date() -> None:
    """Sources, modules and manifest have the hashes of each other."""
    assert tool.check() == []


def test_a_changed_source_or_module_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to be out of date gives a sentence that names the kernel and the remedy."""
    manifest = json.loads((tool.SPIRV / "manifest.json").read_text())
    assert set(manifest["kernels"]) == {v.name for v in tool.variants()} == {p.stem for p in tool.SPIRV.glob("*.spv")}
    with monkeypatch.context() as patch:
        patch.setattr(tool, "source_hash", lambda variant, kernels: "0" * 64)
        assert all("has changed; run make kernels" in line for line in tool.check())
        assert len(tool.check()) == len(manifest["kernels"])
    first, second, *rest = tool.variants()
    changed = [first._replace(name="new_one"), second._replace(push=(*second.push, "more")), *rest]
    monkeypatch.setattr(tool, "variants", lambda kernels: changed)
    assert sorted(tool.check()) == sorted(
        [
            f"{first.name}: no longer built; run make kernels",
            "new_one: not compiled yet; run make kernels",
            f"{second.name}: its row in kernels.toml has changed; run make kernels",
        ]
    )


_NAMES = {"BLOCK_SIZE": "block", "LOCAL": "block", "NUM_ROWS": "rows", "NUM_COLS": "columns"}
"""Constants that a shader calls otherwise than the registry; the subgroup's size is `warp` in GEMMs and `subgroup` in GEMVs."""


def _named(constant: str, declared: str) -> bool:
    return declared == _NAMES.get(constant, constant.lower()) or (constant, declared) == ("WARP", "subgroup")


@pytest.mark.parametrize("name", sorted(kernels()))
def test_the_declared_interface_is_the_modules_own(name: str) -> None:
    """Ids and names of constants, words of push constants and bindings, as the SPIR-V has them."""
    kernel = kernels()[name]
    own = interface((tool.SPIRV / f"{name}.spv").read_bytes())
    by_id = {number: constant for constant, number in kernel.constants.items()}
    assert sorted(by_id) == list(range(len(by_id)))
    assert own.constants.keys() <= by_id.keys()
    for number, constant in own.constants.items():
        assert not constant or _named(constant, by_id[number])
    assert len(own.push) == len(kernel.push)
    assert all(not word or word.lower() == declared for word, declared in zip(own.push, kernel.push, strict=True))
    assert own.bindings <= {number for number, buffer in enumerate(kernel.bindings) if buffer}


def test_the_declared_names_are_the_shaders_own() -> None:
    """Names that spirv-opt removed from the modules are held against the sources; only GEMMs declare constants that they ignore."""
    for variant in tool.variants():
        text = b"".join(tool.sources(variant).values()).decode()
        constants = {int(number): name for number, name in re.findall(r"constant_id = (\d+)\) const \w+ (\w+)", text)}
        assert all(_named(name, variant.constants[number]) for number, name in constants.items()), variant.name
        ignored = set(range(len(variant.constants))) - constants.keys() - {0}
        assert not ignored or len(variant.constants) == 12, variant.name
        bindings = {int(number) for number in re.findall(r"binding = (\d+)", text)}
        assert bindings == {number for number, buffer in enumerate(variant.bindings) if buffer}, variant.name
        for block in re.findall(r"push_constant\) uniform \w+ \{([^}]*)\}", text):
            assert tuple(word.lower() for word in re.findall(r"uint (\w+);", block)) == variant.push, variant.name


def test_types_with_q8_1_products_have_them_on_disk_and_no_others() -> None:
    """A type's row and its folder agree, for integer dot products and for int8 matrices; every folder has a row."""
    folders = {path.name for path in (tool.KERNELS / "types").iterdir() if path.is_dir()}
    assert folders == WEIGHT_TYPES.keys()
    rows = {name: row.q8_1 for name, row in WEIGHT_TYPES.items() if row.q8_1 is not None}
    wanted = {
        "intdot.glsl": {name for name, q8_1 in rows.items() if q8_1.gemm and q8_1.gemv},
        "int8.glsl": {name for name, q8_1 in rows.items() if q8_1.int8_architectures},
    }
    for file, types in wanted.items():
        assert {path.parent.name for path in (tool.KERNELS / "types").glob(f"*/{file}")} == types


def test_a_new_weight_type_is_its_folder_and_its_row(tmp_path: Path) -> None:
    """It gets every module of a type that is like it, and no kernels.toml names it."""
    shutil.copytree(tool.KERNELS, tmp_path / "kernels")
    shutil.copytree(tool.KERNELS / "types" / "q4_0", tmp_path / "kernels" / "types" / "q4_9")
    types = {**WEIGHT_TYPES, "q4_9": WEIGHT_TYPES["q4_0"]}
    modules = {v.name for v in permutations.read(tmp_path / "kernels", types)}
    old = {v.name for v in tool.variants()}
    similar = {v.name for v in tool.variants() if v.facts.get("type") == "q4_0"}
    assert modules - old == {name.replace("q4_0", "q4_9") for name in similar}
    assert modules >= old


_FAMILY = """
[shader.default]
constants = ["block"]
push = ["count"]
bindings = ["", "", "output"]

[[kernel]]
name = "fill_{value}"
shader = "fill.comp"
facts = { op = "fill" }
axes.value = ["1", "2"]
defines.VALUE = "{value}u"
"""
_SHADER = """#version 450
layout(local_size_x_id = 0) in;
layout(binding = 2, std430) writeonly buffer Output { uint result[]; };
layout(push_constant) uniform Problem { uint COUNT; } p;
void main() {
    if (gl_GlobalInvocationID.x < p.COUNT) {
        result[gl_GlobalInvocationID.x] = VALUE;
    }
}
"""


def _family(root: Path, text: str = _FAMILY) -> Path:
    (root / "fill").mkdir(parents=True)
    (root / "fill" / "kernels.toml").write_text(text)
    (root / "fill" / "fill.comp").write_text(_SHADER)
    return root


@pytest.mark.skipif(not (os.environ.get("VKPROBE_GLSLC") or shutil.which("glslc")), reason="needs glslc: apt-get install glslc spirv-tools")
def test_only_what_changed_is_compiled(tmp_path: Path) -> None:
    """A new permutation builds, the others stay; so do all when nothing but the declaration changes."""
    sources, modules = _family(tmp_path / "kernels"), tmp_path / "spirv"
    assert tool.build(sources, modules) == ["fill_1", "fill_2"]
    assert tool.build(sources, modules) == tool.check(sources, modules) == []
    declaration = sources / "fill" / "kernels.toml"
    declaration.write_text(_FAMILY.replace('["1", "2"]', '["2", "3"]'))
    assert len(tool.check(sources, modules)) == 2
    assert tool.build(sources, modules) == ["fill_3"]
    assert {path.stem for path in modules.glob("*.spv")} == {"fill_2", "fill_3"}
    own = interface((modules / "fill_3.spv").read_bytes())
    assert (set(own.constants), len(own.push), own.bindings) == ({0}, 1, {2})
    declaration.write_text(_FAMILY.replace('["1", "2"]', '["2", "3"]').replace('"count"', '"elements"'))
    assert len(tool.check(sources, modules)) == 2
    assert tool.build(sources, modules) == []
    assert json.loads((modules / "manifest.json").read_text())["kernels"]["fill_2"]["push"] == ["elements"]


@pytest.mark.skipif(not (os.environ.get("VKPROBE_GLSLC") or shutil.which("glslc")), reason="needs glslc: apt-get install glslc spirv-tools")
def test_another_compiler_compiles_what_changed_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manifest then says which modules are of which compiler; compiling everything makes it one again."""
    sources, modules = _family(tmp_path / "kernels"), tmp_path / "spirv"
    tool.build(sources, modules)
    binary, version = tool.compiler()
    monkeypatch.setattr(tool, "compiler", lambda: (binary, "glslc of tomorrow"))
    assert tool.build(sources, modules) == []
    (sources / "fill" / "kernels.toml").write_text(_FAMILY.replace('["1", "2"]', '["2", "3"]'))
    assert tool.build(sources, modules) == ["fill_3"]
    assert f"compiled by {version}, these by glslc of tomorrow" in capsys.readouterr().err
    manifest = json.loads((modules / "manifest.json").read_text())
    assert manifest["compiler"] == version
    assert {name: entry.get("compiler") for name, entry in manifest["kernels"].items()} == {"fill_2": None, "fill_3": "glslc of tomorrow"}
    assert tool.build(sources, modules, everything=True) == ["fill_2", "fill_3"]
    manifest = json.loads((modules / "manifest.json").read_text())
    assert manifest["compiler"] == "glslc of tomorrow"
    assert not any("compiler" in entry for entry in manifest["kernels"].values())


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("defines.VALUE", "define.VALUE", "unknown keys: define"),
        ('"{value}u"', '"{other}u"', "names no axis: other"),
        ('"{value}u"', '"{value.glsl}u"', "no [maps] glsl"),
        ('"fill_{value}"', '"fill"', "two modules are named fill"),
        ('push = ["count"]', "", "does not say its push"),
        ('axes.value = ["1", "2"]', 'axes.value = "values"', "no [lists] values"),
        ('axes.value = ["1", "2"]', 'axes.value = ["1"]\naxes.type = "quantized"', "'quantized' is neither a weight type"),
    ],
)
def test_a_mistake_in_kernels_toml_is_named(tmp_path: Path, before: str, after: str, message: str) -> None:
    """The error has the file's name."""
    assert before in _FAMILY
    sources = _family(tmp_path, _FAMILY.replace(before, after))
    with pytest.raises(ValueError, match="fill/kernels.toml: .*" + re.escape(message)):
        permutations.read(sources)
