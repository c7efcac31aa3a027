"""Compile kernels/ to vkprobe/spirv/ with a manifest: `python -m tools.kernels [--check]`.

Users need no compiler: the SPIR-V is checked in. `--check` compiles nothing: it compares the hashes of sources and
modules with the manifest's, and says what is out of date.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "kernels"
SPIRV = ROOT / "vkprobe" / "spirv"
OLDEST_GLSLANG = (15, 1)  # NV_cooperative_matrix2


class Variant(NamedTuple):
    """One module: which source, with which defines, and what it is to vkprobe."""

    name: str
    source: str
    defines: dict[str, str]
    facts: dict[str, Any]
    target: str = "vulkan1.2"


GEMM_TYPES = ("f32", "f16", "q4_0", "q8_0")
GEMV_TYPES = ("f32", "f16", "q4_0", "q8_0")
DEQUANT_TYPES = ("q4_0", "q8_0")


def variants() -> list[Variant]:
    """Every module that is checked in."""
    made = [Variant("canary", "canary/canary.comp", {}, {"op": "canary"})]
    for kind in GEMM_TYPES:
        for path, source, accumulator, defines in (
            ("scalar-f32", "scalar", "f32", {}),
            ("scalar-f16", "scalar", "f16", {"STAGE_F16": "1", "ACC_F16": "1"}),
            ("scalar-f16", "scalar", "f32", {"STAGE_F16": "1"}),
            ("coopmat", "coopmat", "f16", {"ACC_F16": "1"}),
            ("coopmat", "coopmat", "f32", {}),
        ):
            if kind == "f32" and path != "scalar-f32":
                continue  # llama.cpp has no f16 path for f32 weights with f32 activations
            name = f"gemm_{kind}_{path.replace('-', '_')}" + ("" if path == "scalar-f32" else f"_acc_{accumulator}")
            facts = {"op": "gemm", "path": path, "type": kind, "accumulator": accumulator, "tier": "mimic"}
            made.append(Variant(name, f"gemm/{source}.comp", defines, facts))
    for kind in GEMV_TYPES:
        for reduce in ("subgroup", "shared"):
            facts = {"op": "gemv", "path": "scalar-f32", "type": kind, "accumulator": "f32", "tier": "mimic", "reduce": reduce}
            defines = {"REDUCE_SUBGROUP": "1"} if reduce == "subgroup" else {}
            made.append(Variant(f"gemv_{kind}_{reduce}", "gemv/gemv.comp", defines, facts))
    for kind in DEQUANT_TYPES:
        facts = {"op": "dequant", "path": "scalar-f32", "type": kind, "accumulator": "f32", "tier": "mimic"}
        made.append(Variant(f"dequant_{kind}", "dequant/dequant.comp", {}, facts))
    return made + _ladder()


_GLSL_TYPES = {
    "f16": "float16_t",
    "f32": "float",
    "bf16": "bfloat16_t",
    "e4m3": "floate4m3_t",
    "e5m2": "floate5m2_t",
    "s8": "int8_t",
    "u8": "uint8_t",
    "s32": "int",
    "u32": "uint",
}
# glslang declares no capability for bf16 and float8 in storage buffers; devices want the features of their widths.
_STORAGE = {
    "bf16": ["VkPhysicalDeviceVulkan11Features", "storageBuffer16BitAccess"],
    "e4m3": ["VkPhysicalDeviceVulkan12Features", "storageBuffer8BitAccess"],
    "e5m2": ["VkPhysicalDeviceVulkan12Features", "storageBuffer8BitAccess"],
}
_WORKGROUP_SCOPE = [
    ["VkPhysicalDeviceCooperativeMatrix2FeaturesNV", "cooperativeMatrixWorkgroupScope"],
    ["VkPhysicalDeviceCooperativeMatrix2FeaturesNV", "cooperativeMatrixFlexibleDimensions"],
]
_FLOAT8 = ("e4m3", "e5m2")
_INT8 = ("s8", "u8")
_TUPLE_TYPES = (
    *(("f16", "f16", c, False) for c in ("f16", "f32")),
    *(("bf16", "bf16", c, False) for c in ("bf16", "f32")),
    *((a, b, c, False) for a in _FLOAT8 for b in _FLOAT8 for c in ("f16", "f32")),
    *((a, b, c, False) for a in _INT8 for b in _INT8 for c in ("s32", "u32")),
    *((a, b, "s32", True) for a in _INT8 for b in _INT8),
    ("u8", "u8", "u32", True),
)
"""(a, b, accumulator and result, saturating) of every tuple that a driver at hand lists, and their like."""


def _ladder() -> list[Variant]:
    """The ladder's kernels: each tuple's types by cooperative matrices of either scope, and by plain arithmetic."""
    made = []
    for a, b, c, saturating in _TUPLE_TYPES:
        types: dict[str, Any] = {"a": a, "b": b, "c": c, "saturating": saturating}
        name = f"{a}_{b}_{c}" + ("_sat" if saturating else "")
        defines = {f"{x.upper()}_T": _GLSL_TYPES[types[x]] for x in ("a", "b", "c")}
        if "bf16" in (a, b, c):
            defines["WITH_BF16"] = "1"
        storage = [_STORAGE[t] for t in dict.fromkeys((a, b, c)) if t in _STORAGE]
        if {a, b} & set(_FLOAT8):
            defines["WITH_FLOAT8"] = "1"
        for scope in ("subgroup", "workgroup"):
            facts = {
                "op": "ladder-tuple",
                **types,
                "scope": scope,
                "features": storage + (_WORKGROUP_SCOPE if scope == "workgroup" else []),
            }
            more = {"SCOPE": f"gl_Scope{scope.capitalize()}", **({"SATURATE": "1"} if saturating else {})}
            if scope == "workgroup":
                more["WITH_COOPMAT2"] = "1"
            target = "vulkan1.3" if scope == "workgroup" else "vulkan1.2"
            made.append(Variant(f"ladder_{name}_{scope}", "ladder/tuple.comp", {**defines, **more}, facts, target))
        if not saturating:
            accumulate = "float" if c == "bf16" else _GLSL_TYPES[c]
            facts = {"op": "ladder-scalar", **types, "scope": "", "features": storage}
            made.append(Variant(f"ladder_{name}_scalar", "ladder/tuple.comp", {**defines, "SCALAR": "1", "ACC_T": accumulate}, facts))
    return made


def _type_folder(variant: Variant) -> Path:
    return KERNELS / "types" / str(variant.facts.get("type", ""))


def source_hash(variant: Variant) -> str:
    """SHA-256 over the source, all it includes, its defines and target."""
    digest = hashlib.sha256()
    seen: set[Path] = set()

    def add(path: Path) -> None:
        if path in seen:
            return
        seen.add(path)
        text = path.read_text()
        digest.update(path.relative_to(KERNELS).as_posix().encode() + b"\0" + text.encode() + b"\0")
        for included in re.findall(r'^#include\s+"([^"]+)"', text, re.M):
            beside = path.parent / included
            add((beside if beside.exists() else _type_folder(variant) / included).resolve())

    add(KERNELS / variant.source)
    digest.update(json.dumps([variant.defines, variant.target], sort_keys=True).encode())
    return digest.hexdigest()


def compiler() -> tuple[str, str]:
    """The glslc to use ($VKPROBE_GLSLC, else PATH) and the version of glslang in it.

    Raises:
        SystemExit: none found, or older than 15.1.
    """
    binary = os.environ.get("VKPROBE_GLSLC") or shutil.which("glslc")
    if binary is None:
        sys.exit("make kernels: no glslc; install one with glslang >= 15.1 (Debian: glslc of sid or trixie) or name it in VKPROBE_GLSLC")
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"^glslang (\d+)\.(\d+)\S*", text, re.M)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_GLSLANG:
        holds = found[0] if found else "no glslang that it names"
        sys.exit(f"make kernels: {binary} holds {holds}; need glslang >= 15.1 (VKPROBE_GLSLC names another)")
    shaderc = re.search(r"^shaderc (\S+)", text, re.M)
    return binary, f"glslc {shaderc[1] if shaderc else '?'}, {found[0]}"


def _tool(variable: str, name: str) -> str:
    found = os.environ.get(variable) or shutil.which(name)
    if found is None:
        sys.exit(f"make kernels: no {name}; install spirv-tools (as new as the compiler) or name it in {variable}")
    return found


def _capabilities(module: Path) -> list[str]:
    """The SPIR-V capabilities that a module declares, by name: its requirements are derived from them."""
    command = [_tool("VKPROBE_SPIRV_DIS", "spirv-dis"), "--no-color", str(module)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.findall(r"^\s*OpCapability (\w+)", text, re.M)


def _compile(binary: str, variant: Variant) -> bytes:
    out = SPIRV / f"{variant.name}.spv"
    command = [binary, "-O", f"--target-env={variant.target}", f"-I{_type_folder(variant)}"]
    command += [f"-D{k}={v}" for k, v in variant.defines.items()]
    done = subprocess.run([*command, "-o", str(out), str(KERNELS / variant.source)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{variant.name}: {' '.join(command)}\n{done.stderr}")
    checked = subprocess.run(
        [_tool("VKPROBE_SPIRV_VAL", "spirv-val"), "--target-env", variant.target, str(out)], capture_output=True, text=True
    )
    if checked.returncode != 0:
        sys.exit(f"{variant.name}: spirv-val: {checked.stdout}{checked.stderr}")
    return out.read_bytes()


def build() -> None:
    """Compile every variant and write the manifest."""
    binary, version = compiler()
    SPIRV.mkdir(exist_ok=True)
    for old in SPIRV.glob("*.spv"):
        old.unlink()
    todo = variants()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        modules = list(pool.map(lambda v: _compile(binary, v), todo))
    entries = {
        v.name: {
            **v.facts,
            "source": v.source,
            "defines": v.defines,
            "target": v.target,
            "capabilities": _capabilities(SPIRV / f"{v.name}.spv"),
            "source_sha256": source_hash(v),
            "spirv_sha256": hashlib.sha256(code).hexdigest(),
        }
        for v, code in zip(todo, modules, strict=True)
    }
    manifest = {"compiler": version, "kernels": entries}
    (SPIRV / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    print(f"{len(entries)} modules, {sum(map(len, modules)) // 1024} KiB, {version}")


def check() -> list[str]:
    """What is out of date, a sentence each; empty where nothing is."""
    manifest = json.loads((SPIRV / "manifest.json").read_text())["kernels"]
    wanted = {v.name: v for v in variants()}
    stale = [f"{name}: no longer built; run make kernels" for name in manifest.keys() - wanted.keys()]
    for name, variant in wanted.items():
        entry = manifest.get(name)
        module = SPIRV / f"{name}.spv"
        if entry is None or not module.exists():
            stale.append(f"{name}: not compiled yet; run make kernels")
        elif entry["source_sha256"] != source_hash(variant):
            stale.append(f"{name}: {variant.source} or what it includes has changed; run make kernels")
        elif entry["spirv_sha256"] != hashlib.sha256(module.read_bytes()).hexdigest():
            stale.append(f"{name}: the module is not the one that the manifest names; run make kernels")
        elif {k: entry.get(k) for k in variant.facts} != variant.facts:
            stale.append(f"{name}: its row in tools/kernels.py has changed; run make kernels")
    return stale


def main() -> None:
    """`python -m tools.kernels [--check]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare hashes only")
    if parser.parse_args().check:
        stale = check()
        print("\n".join(stale) or "kernels are up to date")
        sys.exit(bool(stale))
    build()


if __name__ == "__main__":
    main()
