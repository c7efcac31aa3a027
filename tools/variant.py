"""One row of what is compiled: tools/kernels.py builds it, tools/ladder_kernels.py has the ladder's rows."""

from __future__ import annotations

from typing import Any, NamedTuple


class Variant(NamedTuple):
    """One module: which source, with which defines, and what it is to vkprobe.

    `maintenance1`: the compiled module's NV_cooperative_matrix2 instructions are declared as those of
    EXT_cooperative_matrix_maintenance1, which glslang does not know yet. `optimize` is off where the optimiser doesn't know a capability,
    or where `optimized` says so.
    """

    name: str
    source: str
    defines: dict[str, str]
    facts: dict[str, Any]
    target: str = "vulkan1.2"
    maintenance1: bool = False
    optimize: bool = True


def optimized(path: str, kind: str) -> bool:
    """Whether a mimic kernel goes through spirv-opt: not where llama.cpp leaves it out for what it did to its shaders (10734, 15344).

    Source: llama.cpp@0c1e570 vulkan-shaders-gen.cpp:359-365.
    """
    return path not in ("coopmat", "dot2") and kind != "bf16"
