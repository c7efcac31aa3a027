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
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.coopmat2_kernels import matrix_gemm
from tools.intdot_kernels import conversions, intdot
from tools.ladder_kernels import ladder
from tools.peak_kernels import ceilings
from tools.variant import Variant, optimized

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "kernels"
SPIRV = ROOT / "vkprobe" / "spirv"
OLDEST_GLSLANG = (15, 1)  # NV_cooperative_matrix2


QUANTISED_TYPES = ("q4_0", "q8_0", "q4_k", "q5_k", "q6_k", "iq4_xs", "mxfp4")
GEMM_TYPES = ("f32", "f16", "bf16", *QUANTISED_TYPES)
GEMV_TYPES = ("f32", "f16", "bf16", *QUANTISED_TYPES)
DEQUANT_TYPES = ("bf16", *QUANTISED_TYPES)


def variants() -> list[Variant]:
    """Every module that is checked in."""
    made = [
        Variant("canary", "canary/canary.comp", {}, {"op": "canary"}),
        Variant("gemm_reduce", "gemm/reduce.comp", {}, {"op": "reduce"}),
    ]
    for kind in GEMM_TYPES:
        for path, source, accumulator, defines in (
            ("scalar-f32", "scalar", "f32", {}),
            ("scalar-f16", "scalar", "f16", {"STAGE_F16": "1", "ACC_F16": "1"}),
            ("scalar-f16", "scalar", "f32", {"STAGE_F16": "1"}),
            ("coopmat", "coopmat", "f16", {"ACC_F16": "1"}),
            ("coopmat", "coopmat", "f32", {}),
        ):
            if kind == "f32" and accumulator == "f16":
                continue  # llama.cpp's f16 paths sum f32 weights in f32
            if kind == "bf16" and path != "scalar-f32":
                continue  # llama.cpp widens bf16 to f32 where there is no bf16 matrix unit
            if kind == "bf16":
                defines = {"B_BF16": "1"}
            if path == "coopmat" and kind in QUANTISED_TYPES:
                defines = {**defines, "B_F16": "1"}  # llama.cpp converts them before
            name = f"gemm_{kind}_{path.replace('-', '_')}" + ("" if path == "scalar-f32" else f"_acc_{accumulator}")
            facts = {"op": "gemm", "path": path, "type": kind, "accumulator": accumulator, "tier": "mimic"}
            made.append(Variant(name, f"gemm/{source}.comp", defines, facts, optimize=optimized(path, kind)))
    made += matrix_gemm(GEMM_TYPES)
    for kind in GEMV_TYPES:
        for reduce in ("subgroup", "shared"):
            facts = {"op": "gemv", "path": "scalar-f32", "type": kind, "accumulator": "f32", "tier": "mimic", "reduce": reduce}
            defines = {"REDUCE_SUBGROUP": "1"} if reduce == "subgroup" else {}
            made.append(Variant(f"gemv_{kind}_{reduce}", "gemv/gemv.comp", defines, facts, optimize=optimized("scalar-f32", kind)))
    for kind in DEQUANT_TYPES:
        facts = {"op": "dequant", "path": "scalar-f32", "type": kind, "accumulator": "f32", "tier": "mimic"}
        made.append(Variant(f"dequant_{kind}", "dequant/dequant.comp", {}, facts))
    return [*made, *intdot(), *conversions(), *ceilings(), *ladder()]


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
    made_by = [variant.defines, variant.target, *(["maintenance1"] if variant.maintenance1 else [])]
    made_by += [] if variant.optimize else ["unoptimised"]
    digest.update(json.dumps(made_by, sort_keys=True).encode())
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


def _compile(binary: str, variant: Variant, folder: Path) -> bytes:
    out = folder / f"{variant.name}.spv"
    command = [binary, "-O" if variant.optimize else "-O0", f"--target-env={variant.target}", f"-I{_type_folder(variant)}"]
    command += [f"-D{k}={v}" for k, v in variant.defines.items()]
    done = subprocess.run([*command, "-o", str(out), str(KERNELS / variant.source)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{variant.name}: {' '.join(command)}\n{done.stderr}")
    if variant.maintenance1:
        _as_maintenance1(out)
    checked = subprocess.run(
        [_tool("VKPROBE_SPIRV_VAL", "spirv-val"), "--target-env", variant.target, str(out)], capture_output=True, text=True
    )
    if checked.returncode != 0:
        sys.exit(f"{variant.name}: spirv-val: {checked.stdout}{checked.stderr}")
    return out.read_bytes()


def build() -> None:
    """Compile every variant and write the manifest; what is there is replaced only when all of it has compiled."""
    binary, version = compiler()
    SPIRV.mkdir(exist_ok=True)
    todo = variants()
    with tempfile.TemporaryDirectory(dir=SPIRV) as made, ThreadPoolExecutor(os.cpu_count()) as pool:
        folder = Path(made)
        modules = list(pool.map(lambda v: _compile(binary, v, folder), todo))
        entries = {
            v.name: {
                **v.facts,
                "source": v.source,
                "defines": v.defines,
                "target": v.target,
                "capabilities": _capabilities(folder / f"{v.name}.spv"),
                "source_sha256": source_hash(v),
                "spirv_sha256": hashlib.sha256(code).hexdigest(),
            }
            for v, code in zip(todo, modules, strict=True)
        }
        for new in folder.glob("*.spv"):
            new.replace(SPIRV / new.name)
    for old in SPIRV.glob("*.spv"):
        if old.stem not in entries:
            old.unlink()
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
