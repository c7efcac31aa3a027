"""Compile kernels/ to vkprobe/spirv/ with a manifest: `python -m tools.kernels [--check | --all]`.

Users need no compiler: the SPIR-V is checked in. Only modules whose sources have changed are compiled. `--check` compiles nothing: it
compares the hashes of sources and modules with the manifest's, and says what is out of date.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from tools.permutations import Variant, read

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "kernels"
SPIRV = ROOT / "vkprobe" / "spirv"
OLDEST_GLSLANG = (15, 1)  # NV_cooperative_matrix2
RECIPE = 1
"""Raised when `_compile` changes what it makes of the same sources: every module is then out of date."""

Manifest = dict[str, Any]


def variants(kernels: Path = KERNELS) -> list[Variant]:
    """Every module that is checked in.

    Raises:
        SystemExit: a kernels.toml is wrong.
    """
    try:
        return read(kernels)
    except ValueError as error:
        sys.exit(f"make kernels: {error}")


@cache
def _source(path: Path, _modified: int) -> tuple[bytes, tuple[str, ...]]:
    """A source's text and what it includes; read again only when the file has changed."""
    text = path.read_text()
    return text.encode(), tuple(re.findall(r'^#include\s+"([^"]+)"', text, re.M))


def _type_folder(variant: Variant, kernels: Path) -> Path:
    return kernels / "types" / str(variant.facts.get("type", ""))


def sources(variant: Variant, kernels: Path = KERNELS) -> dict[Path, bytes]:
    """The shader and everything that it includes, in the order in which they are met.

    Raises:
        SystemExit: an included file exists neither beside the including one nor in the type's folder.
    """
    texts: dict[Path, bytes] = {}

    def add(path: Path) -> None:
        if path in texts:
            return
        if not path.exists():
            sys.exit(f"make kernels: {variant.name} needs {path}, which does not exist")
        text, included = _source(path, path.stat().st_mtime_ns)
        texts[path] = text
        for name in included:
            beside = path.parent / name
            add((beside if beside.exists() else _type_folder(variant, kernels) / name).resolve())

    add((kernels / variant.source).resolve())
    return texts


def source_hash(variant: Variant, kernels: Path = KERNELS) -> str:
    """SHA-256 over the source, all it includes, its defines and target."""
    digest = hashlib.sha256()
    root = kernels.resolve()
    for path, text in sources(variant, kernels).items():
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + text + b"\0")
    options: list[Any] = [variant.defines, variant.target, *(["maintenance1"] if variant.maintenance1 else [])]
    options += [] if variant.optimize else ["unoptimised"]
    digest.update(json.dumps(options, sort_keys=True).encode())
    return digest.hexdigest()


def compiler() -> tuple[str, str]:
    """The glslc to use ($VKPROBE_GLSLC, else PATH) and the version of glslang in it.

    Raises:
        SystemExit: there is none, or it is older than 15.1.
    """
    binary = os.environ.get("VKPROBE_GLSLC") or shutil.which("glslc")
    if binary is None:
        sys.exit("make kernels: no glslc; install one with glslang >= 15.1 (glslc of Debian trixie or sid) or name it in VKPROBE_GLSLC")
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    glslang = re.search(r"^glslang (\d+)\.(\d+)\S*", text, re.M)
    if glslang is None or (int(glslang[1]), int(glslang[2])) < OLDEST_GLSLANG:
        holds = glslang[0] if glslang else "no glslang that it names"
        sys.exit(f"make kernels: {binary} holds {holds}; need glslang >= 15.1, as in Debian trixie or sid (VKPROBE_GLSLC names another)")
    shaderc = re.search(r"^shaderc (\S+)", text, re.M)
    return binary, f"glslc {shaderc[1] if shaderc else '?'}, {glslang[0]}"


def _tool(variable: str, name: str) -> str:
    binary = os.environ.get(variable) or shutil.which(name)
    if binary is None:
        sys.exit(f"make kernels: no {name}; install spirv-tools, as new as the compiler (Debian trixie or sid), or name it in {variable}")
    return binary


def _capabilities(module: Path) -> list[str]:
    """The SPIR-V capabilities that a module declares, by name: its requirements are derived from them."""
    command = [_tool("VKPROBE_SPIRV_DIS", "spirv-dis"), "--no-color", str(module)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.findall(r"^\s*OpCapability (\w+)", text, re.M)


_TRANSPOSED = re.compile(r"^( *(%\w+) = )OpCooperativeMatrixTransposeNV (%\w+ %\w+)$", re.M)


def _as_maintenance1(module: Path) -> None:
    """Declare the module's cooperative-matrix instructions as EXT_cooperative_matrix_maintenance1's.

    They are the same instructions under other names, but for the transpose: that is a decorated conversion of the use.
    Source: SPV_EXT_cooperative_matrix_maintenance1, revision 1.
    """
    dis = subprocess.run([_tool("VKPROBE_SPIRV_DIS", "spirv-dis"), "--no-color", "--raw-id", str(module)], capture_output=True, check=True)
    text = dis.stdout.decode()
    text = text.replace('"SPV_NV_cooperative_matrix2"', '"SPV_EXT_cooperative_matrix_maintenance1"')
    text = text.replace("CooperativeMatrixConversionsNV", "CooperativeMatrixConversionsEXT")
    decorations = "".join(f"OpDecorate {m[2]} CooperativeMatrixTransposeEXT\n" for m in _TRANSPOSED.finditer(text))
    text = _TRANSPOSED.sub(r"\1OpCooperativeMatrixConvertUseEXT \3", text)
    text = re.sub(r"^ *OpDecorate ", lambda m: decorations + m[0], text, count=1, flags=re.M)
    version = re.search(r"^; Version: (\d)\.(\d)$", text, re.M)
    assert version is not None
    target = f"spv{version[1]}.{version[2]}"
    command = [_tool("VKPROBE_SPIRV_AS", "spirv-as"), "--preserve-numeric-ids", "--target-env", target, "-", "-o", str(module)]
    subprocess.run(command, input=text.encode(), check=True)


def _compile(binary: str, variant: Variant, kernels: Path, out: Path) -> list[str]:
    """Write the validated module to `out`; returns its capabilities."""
    command = [binary, "-O" if variant.optimize else "-O0", f"--target-env={variant.target}", f"-I{_type_folder(variant, kernels)}"]
    command += [f"-D{k}={v}" for k, v in variant.defines.items()]
    done = subprocess.run([*command, "-o", str(out), str(kernels / variant.source)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{variant.name}: {' '.join(command)}\n{done.stderr}")
    if variant.maintenance1:
        _as_maintenance1(out)
    checked = subprocess.run(
        [_tool("VKPROBE_SPIRV_VAL", "spirv-val"), "--target-env", variant.target, str(out)], capture_output=True, text=True
    )
    if checked.returncode != 0:
        sys.exit(f"{variant.name}: spirv-val: {checked.stdout}{checked.stderr}")
    return _capabilities(out)


def _row(variant: Variant) -> dict[str, Any]:
    """The manifest's entry for a module, from kernels.toml."""
    row: dict[str, Any] = {**variant.facts, "features": [list(feature) for feature in variant.features]}
    row |= {"source": variant.source, "defines": variant.defines, "target": variant.target}
    row["constants"] = {name: number for number, name in enumerate(variant.constants)}
    return row | {"push": list(variant.push), "bindings": list(variant.bindings)}


_OUTCOMES = ("capabilities", "source_sha256", "spirv_sha256", "compiler")


def _load(spirv: Path) -> Manifest:
    path = spirv / "manifest.json"
    manifest: Manifest = json.loads(path.read_text()) if path.exists() else {"kernels": {}}
    return manifest


def _outdated(variant: Variant, manifest: Manifest, kernels: Path, spirv: Path) -> str | None:
    """Why the module must be compiled; None where it need not be."""
    entry = manifest["kernels"].get(variant.name)
    module = spirv / f"{variant.name}.spv"
    if entry is None or not module.exists():
        return "not compiled yet"
    if manifest.get("recipe") != RECIPE:
        return "compiled by another recipe of tools/kernels.py"
    if entry["source_sha256"] != source_hash(variant, kernels):
        return f"{variant.source} or what it includes has changed"
    if entry["spirv_sha256"] != hashlib.sha256(module.read_bytes()).hexdigest():
        return "the module is not the one that the manifest names"
    return None


def build(kernels: Path = KERNELS, spirv: Path = SPIRV, *, everything: bool = False) -> list[str]:
    """Compile what is out of date, or everything, and write the manifest; returns the names of the compiled modules.

    Modules and manifest are replaced only when all of it has compiled.
    """
    spirv.mkdir(parents=True, exist_ok=True)
    manifest = _load(spirv)
    wanted = variants(kernels)
    todo = [v for v in wanted if everything or _outdated(v, manifest, kernels, spirv)]
    before = manifest.get("compiler")
    entries = {v.name: {**_row(v), **_kept(manifest["kernels"].get(v.name, {}))} for v in wanted}
    if todo:
        binary, version = compiler()
        if everything or before is None or len(todo) == len(wanted):
            before = version
        elif before != version:
            print(f"the other modules were compiled by {before}, these by {version}; --all compiles every one", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=spirv) as temporary, ThreadPoolExecutor(os.cpu_count()) as pool:
            folder = Path(temporary)
            capabilities = list(pool.map(lambda v: _compile(binary, v, kernels, folder / f"{v.name}.spv"), todo))
            for v, declared in zip(todo, capabilities, strict=True):
                digest = hashlib.sha256((folder / f"{v.name}.spv").read_bytes()).hexdigest()
                entries[v.name] = {**_row(v), "capabilities": declared, "source_sha256": source_hash(v, kernels), "spirv_sha256": digest}
                if version != before:
                    entries[v.name]["compiler"] = version
            for module in folder.glob("*.spv"):
                module.replace(spirv / module.name)
    for old in spirv.glob("*.spv"):
        if old.stem not in entries:
            old.unlink()
    written = {"compiler": before, "recipe": RECIPE, "kernels": entries}
    (spirv / "manifest.json").write_text(json.dumps(written, indent=1) + "\n")
    return [v.name for v in todo]


def _kept(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in _OUTCOMES if key in entry}


def check(kernels: Path = KERNELS, spirv: Path = SPIRV) -> list[str]:
    """A sentence for each module that is out of date; empty where none is."""
    manifest = _load(spirv)
    wanted = {v.name: v for v in variants(kernels)}
    stale = [f"{name}: no longer built; run make kernels" for name in manifest["kernels"].keys() - wanted.keys()]
    for name, variant in wanted.items():
        why = _outdated(variant, manifest, kernels, spirv)
        if why is None and {k: v for k, v in manifest["kernels"][name].items() if k not in _OUTCOMES} != _row(variant):
            why = "its row in kernels.toml has changed"
        if why:
            stale.append(f"{name}: {why}; run make kernels")
    return stale


def main() -> None:
    """`python -m tools.kernels [--check | --all]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--check", action="store_true", help="compare hashes only")
    group.add_argument("--all", action="store_true", help="compile every module, whether it has changed or not")
    arguments = parser.parse_args()
    if arguments.check:
        stale = check()
        print("\n".join(stale) or "kernels are up to date")
        sys.exit(bool(stale))
    compiled = build(everything=arguments.all)
    print(f"{len(compiled)} of {len(variants())} modules compiled" + (": " + " ".join(compiled) if len(compiled) <= 30 else ""))


if __name__ == "__main__":
    main()
