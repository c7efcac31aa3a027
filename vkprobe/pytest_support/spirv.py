"""Reading a SPIR-V module: capabilities, bindings, entry point. Pure.

Source: SPIR-V specification, section 2.3 (module layout) and 3.31 (capabilities); SPIRV-Headers for extensions' numbers.
"""

from __future__ import annotations

import struct

from msgspec import Struct

from vkprobe.errors import UsageError

_MAGIC = 0x07230203
_OP_CAPABILITY, _OP_ENTRY_POINT, _OP_DECORATE = 17, 15, 71
_GL_COMPUTE, _BINDING, _DESCRIPTOR_SET = 5, 33, 34
_LEAST_OPERANDS = {_OP_CAPABILITY: 1, _OP_ENTRY_POINT: 3, _OP_DECORATE: 2}
_WITH_NUMBER = (_BINDING, _DESCRIPTOR_SET)

CAPABILITIES: dict[int, str] = {
    1: "Shader",
    9: "Float16",
    10: "Float64",
    11: "Int64",
    12: "Int64Atomics",
    22: "Int16",
    39: "Int8",
    61: "GroupNonUniform",
    62: "GroupNonUniformVote",
    63: "GroupNonUniformArithmetic",
    64: "GroupNonUniformBallot",
    65: "GroupNonUniformShuffle",
    66: "GroupNonUniformShuffleRelative",
    67: "GroupNonUniformClustered",
    68: "GroupNonUniformQuad",
    4212: "Float8EXT",
    4213: "Float8CooperativeMatrixEXT",
    4228: "Float6EXT",
    4229: "Float4EXT",
    4230: "Float8UnsignedE8M0EXT",
    4231: "MXInt8EXT",
    4232: "BitcastExtractEXT",
    4428: "WorkgroupMemoryExplicitLayoutKHR",
    4429: "WorkgroupMemoryExplicitLayout8BitAccessKHR",
    4430: "WorkgroupMemoryExplicitLayout16BitAccessKHR",
    4433: "StorageBuffer16BitAccess",
    4434: "UniformAndStorageBuffer16BitAccess",
    4435: "StoragePushConstant16",
    4441: "VariablePointersStorageBuffer",
    4442: "VariablePointers",
    4448: "StorageBuffer8BitAccess",
    4449: "UniformAndStorageBuffer8BitAccess",
    4450: "StoragePushConstant8",
    4464: "DenormPreserve",
    4465: "DenormFlushToZero",
    4466: "SignedZeroInfNanPreserve",
    4467: "RoundingModeRTE",
    4468: "RoundingModeRTZ",
    5055: "ShaderClockKHR",
    5116: "BFloat16TypeKHR",
    5117: "BFloat16DotProductKHR",
    5118: "BFloat16CooperativeMatrixKHR",
    5345: "VulkanMemoryModel",
    5346: "VulkanMemoryModelDeviceScope",
    5347: "PhysicalStorageBufferAddresses",
    5394: "CooperativeVectorNV",
    5429: "CooperativeMatrixConversionsEXT",
    5430: "CooperativeMatrixReductionsEXT",
    5431: "CooperativeMatrixConversionsNV",
    5432: "CooperativeMatrixPerElementOperationsEXT",
    5433: "CooperativeMatrixTensorAddressingNV",
    5434: "CooperativeMatrixBlockLoadsNV",
    5438: "CooperativeMatrixGetCoordinateEXT",
    5439: "TensorAddressingNV",
    5447: "CooperativeMatrixDecodeVectorNV",
    5612: "AtomicFloat32MinMaxEXT",
    5613: "AtomicFloat64MinMaxEXT",
    5616: "AtomicFloat16MinMaxEXT",
    6016: "DotProductInputAll",
    6017: "DotProductInput4x8Bit",
    6018: "DotProductInput4x8BitPacked",
    6019: "DotProduct",
    6022: "CooperativeMatrixKHR",
    6026: "GroupNonUniformRotateKHR",
    6029: "FloatControls2",
    6033: "AtomicFloat32AddEXT",
    6034: "AtomicFloat64AddEXT",
    6095: "AtomicFloat16AddEXT",
    6912: "DotProductFloat16AccFloat32VALVE",
    6913: "DotProductFloat16AccFloat16VALVE",
    6914: "DotProductBFloat16AccVALVE",
    6915: "DotProductFloat8AccFloat32VALVE",
}
"""Those that compute shaders declare; one that is not here is left to the driver, with nothing enabled for it."""


class Module(Struct, frozen=True, kw_only=True):
    """A compute shader.

    Attributes:
        version: SPIR-V's, as (1, 5).
        capabilities: those with a name here.
        bindings: numbers of the bindings that its variables have.
    """

    version: tuple[int, int]
    capabilities: tuple[str, ...]
    bindings: frozenset[int]


def read(spirv: bytes, name: str) -> Module:
    """The facts of a module; `name` is for the message.

    Raises:
        UsageError: it is no SPIR-V, no compute shader with the entry point `main`, or binds beyond descriptor set 0.
    """
    words = struct.unpack(f"<{len(spirv) // 4}I", spirv[: len(spirv) // 4 * 4])
    if len(words) < 5 or len(spirv) % 4 or words[0] != _MAGIC:
        hint = "GLSL is compiled first: glslc --target-env=vulkan1.2 x.comp -o x.spv" if spirv[:1] in (b"#", b"/") else "is it cut short?"
        raise UsageError(f"{name}: not a SPIR-V module of this machine's byte order; {hint}")
    capabilities, bindings, entries = [], set(), []
    at = 5
    while at < len(words):
        op, count = words[at] & 0xFFFF, words[at] >> 16
        if count == 0 or at + count > len(words):
            raise UsageError(f"{name}: not a whole SPIR-V module: an instruction ends beyond it")
        operands = words[at + 1 : at + count]
        if len(operands) < _LEAST_OPERANDS.get(op, 0) or (op == _OP_DECORATE and operands[1] in _WITH_NUMBER and len(operands) < 3):
            raise UsageError(f"{name}: not a valid SPIR-V module: the instruction at word {at} lacks operands")
        if op == _OP_CAPABILITY and operands[0] in CAPABILITIES:
            capabilities.append(CAPABILITIES[operands[0]])
        elif op == _OP_ENTRY_POINT and operands[0] == _GL_COMPUTE:
            entries.append(struct.pack(f"<{count - 3}I", *operands[2:]).partition(b"\0")[0].decode(errors="replace"))
        elif op == _OP_DECORATE and operands[1] == _BINDING:
            bindings.add(operands[2])
        elif op == _OP_DECORATE and operands[1] == _DESCRIPTOR_SET and operands[2]:
            raise UsageError(f"{name}: binds in descriptor set {operands[2]}; only storage buffers in set 0 are supported")
        at += count
    if "main" not in entries:
        there = ", ".join(entries)
        raise UsageError(f"{name}: has no compute entry point `main`" + (f"; there is {there}" if there else ""))
    return Module(version=(words[1] >> 16 & 0xFF, words[1] >> 8 & 0xFF), capabilities=tuple(capabilities), bindings=frozenset(bindings))
