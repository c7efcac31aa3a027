"""SPIR-V modules: read from the package, with float-control execution modes patched in.

Execution modes can't be compiled in: not every device offers them, and GLSL has no way to ask.
Source: SPIR-V specification, section 2.4 (logical layout) and 3.6 (execution modes).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from importlib.resources import files

_OP_CAPABILITY = 17
_OP_ENTRY_POINT = 15
_OP_EXECUTION_MODE = (16, 331)
_MODES = {"DenormPreserve": (4464, 4459), "RoundingModeRTE": (4467, 4462)}  # capability, execution mode
_HEADER_WORDS = 5


def load(name: str) -> bytes:
    """The module's SPIR-V as it is checked in."""
    return (files("vkprobe") / "spirv" / f"{name}.spv").read_bytes()


def with_float_controls(spirv: bytes, controls: Sequence[str]) -> bytes:
    """`spirv` with execution modes added; each is a mode and the width it is for, as `DenormPreserve 16`."""
    modes = [(*_MODES[name], int(width)) for name, width in (control.split() for control in controls)]
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
    capabilities = [word for capability, _, _ in modes for word in (2 << 16 | _OP_CAPABILITY, capability)]
    executions = [word for _, mode, width in modes for word in (4 << 16 | _OP_EXECUTION_MODE[0], entry, mode, width)]
    patched = [*words[:capabilities_end], *capabilities, *words[capabilities_end:entry_end], *executions, *words[entry_end:]]
    return struct.pack(f"<{len(patched)}I", *patched)
