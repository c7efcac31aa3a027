"""SPIR-V modules as pipelines take them: read from the package, with float-control execution modes patched in.

Execution modes for f16 can't be compiled in: not every device offers them, and GLSL has no way to ask.
Source: SPIR-V specification, section 2.4 (logical layout) and 3.6 (execution modes).
"""

from __future__ import annotations

import struct
from importlib.resources import files

_OP_CAPABILITY = 17
_OP_ENTRY_POINT = 15
_OP_EXECUTION_MODE = (16, 331)
_DENORM_PRESERVE = (4464, 4459)  # capability, execution mode
_ROUNDING_RTE = (4467, 4462)
_HEADER_WORDS = 5


def load(name: str) -> bytes:
    """The module's SPIR-V as it is checked in."""
    return (files("vkprobe") / "spirv" / f"{name}.spv").read_bytes()


def with_f16_controls(spirv: bytes, *, rounding: bool, denormals: bool) -> bytes:
    """`spirv` with RoundingModeRTE and DenormPreserve for 16-bit floats, as llama.cpp has it where a device offers them."""
    modes = [*([_DENORM_PRESERVE] if denormals else []), *([_ROUNDING_RTE] if rounding else [])]
    if not modes:
        return spirv
    words = struct.unpack(f"<{len(spirv) // 4}I", spirv)
    capabilities_end = entry_end = entry = 0
    at = _HEADER_WORDS
    while at < len(words):
        op, count = words[at] & 0xFFFF, words[at] >> 16
        if op == _OP_CAPABILITY:
            capabilities_end = at + count
        elif op == _OP_ENTRY_POINT:
            entry, entry_end = words[at + 2], at + count
        elif op in _OP_EXECUTION_MODE:
            entry_end = at + count
        at += count
    capabilities = [word for capability, _ in modes for word in (2 << 16 | _OP_CAPABILITY, capability)]
    executions = [word for _, mode in modes for word in (4 << 16 | _OP_EXECUTION_MODE[0], entry, mode, 16)]
    patched = [*words[:capabilities_end], *capabilities, *words[capabilities_end:entry_end], *executions, *words[entry_end:]]
    return struct.pack(f"<{len(patched)}I", *patched)
