"""The ladder's rows of `python -m tools.kernels`: kernels of every tuple's types, and of every feature that drivers add piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.variant import Variant

GLSL_TYPES = {
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
STORAGE = {
    "bf16": ["VkPhysicalDeviceVulkan11Features", "storageBuffer16BitAccess"],
    "e4m3": ["VkPhysicalDeviceVulkan12Features", "storageBuffer8BitAccess"],
    "e5m2": ["VkPhysicalDeviceVulkan12Features", "storageBuffer8BitAccess"],
}
_NV = "VkPhysicalDeviceCooperativeMatrix2FeaturesNV"
_EXT = "VkPhysicalDeviceCooperativeMatrixMaintenance1FeaturesEXT"
WORKGROUP_SCOPE = [[_NV, "cooperativeMatrixWorkgroupScope"], [_NV, "cooperativeMatrixFlexibleDimensions"]]
LOCAL_SIZE_ID = ["VkPhysicalDeviceVulkan13Features", "maintenance4"]  # SPIR-V 1.6, which NV_cooperative_matrix2 needs, has the size so
FLOAT8 = ("e4m3", "e5m2")
_INT8 = ("s8", "u8")
TUPLE_TYPES = (
    *(("f16", "f16", c, False) for c in ("f16", "f32")),
    *(("bf16", "bf16", c, False) for c in ("bf16", "f32")),
    *((a, b, c, False) for a in FLOAT8 for b in FLOAT8 for c in ("f16", "f32")),
    *((a, b, c, False) for a in _INT8 for b in _INT8 for c in ("s32", "u32")),
    *((a, b, "s32", True) for a in _INT8 for b in _INT8),
    ("u8", "u8", "u32", True),
)
"""(a, b, accumulator and result, saturating) of every tuple that a driver at hand lists, and their like."""
_SCOPES = ("subgroup", "workgroup")


def ladder() -> list[Variant]:
    """Every kernel of the ladder."""
    return [*_tuples(), *_matrices(), *_subgroups(), *_numbers(), *_integer_dots(), *_float_dots(), *_halves()]


def _tuples() -> Iterator[Variant]:
    """Each tuple's types by cooperative matrices of either scope, and by plain arithmetic."""
    for a, b, c, saturating in TUPLE_TYPES:
        types: dict[str, Any] = {"a": a, "b": b, "c": c, "saturating": saturating}
        name = f"{a}_{b}_{c}" + ("_sat" if saturating else "")
        defines = {f"{x.upper()}_T": GLSL_TYPES[types[x]] for x in ("a", "b", "c")}
        if "bf16" in (a, b, c):
            defines["WITH_BF16"] = "1"
        storage = [STORAGE[t] for t in dict.fromkeys((a, b, c)) if t in STORAGE]
        if {a, b} & set(FLOAT8):
            defines["WITH_FLOAT8"] = "1"
        for scope in _SCOPES:
            facts = {
                "op": "ladder-tuple",
                **types,
                "scope": scope,
                "features": storage + ([*WORKGROUP_SCOPE, LOCAL_SIZE_ID] if scope == "workgroup" else []),
            }
            more = {"SCOPE": f"gl_Scope{scope.capitalize()}", **({"SATURATE": "1"} if saturating else {})}
            if scope == "workgroup":
                more["WITH_COOPMAT2"] = "1"
            target = "vulkan1.3" if scope == "workgroup" else "vulkan1.2"
            yield Variant(f"ladder_{name}_{scope}", "ladder/tuple.comp", {**defines, **more}, facts, target)
        if not saturating:
            accumulate = "float" if c == "bf16" else GLSL_TYPES[c]
            facts = {"op": "ladder-scalar", **types, "scope": "", "features": storage}
            yield Variant(f"ladder_{name}_scalar", "ladder/tuple.comp", {**defines, "SCALAR": "1", "ACC_T": accumulate}, facts)


_CLAMP_BITS = {"f16": "0xC200u", "f32": "0xC0400000u"}  # -3
_USES = {"a": "gl_MatrixUseA", "b": "gl_MatrixUseB", "c": "gl_MatrixUseAccumulator"}


def _matrices() -> Iterator[Variant]:
    """NV_cooperative_matrix2's features in both scopes, and those that EXT_cooperative_matrix_maintenance1 has too."""
    for scope in _SCOPES:
        for c in ("f16", "f32"):
            typed = {"T": GLSL_TYPES[c]}
            made = [
                _matrix(scope, f"reduce_{c}", "reduce", "cooperativeMatrixReductions", typed),
                _matrix(scope, f"reduce_2x2_{c}", "reduce", "cooperativeMatrixReductions", {**typed, "REDUCE_2X2": "1"}),
                _matrix(scope, f"convert_{c}", "convert", "cooperativeMatrixConversions", {**typed, "A_T": "float16_t"}),
                _matrix(scope, f"element_{c}", "element", "cooperativeMatrixPerElementOperations", typed),
            ]
            yield from made
            if scope == "subgroup":
                yield from (_maintenance1(v) for v in made)
        for use, c in (("a", "f16"), ("b", "f16"), ("c", "f32")):
            defines = {"T": GLSL_TYPES[c], "USE": _USES[use], "CLAMP_BITS": _CLAMP_BITS[c]}
            yield _matrix(scope, f"tensor_{use}_{c}", "tensor", "cooperativeMatrixTensorAddressing", defines)
        for use in ("a", "b"):
            used = {"USE": _USES[use]}
            yield _matrix(scope, f"block_{use}", "block", "cooperativeMatrixBlockLoads", used)
            yield _matrix(scope, f"block_vector_{use}", "block", "cooperativeMatrixBlockLoads", {**used, "DECODE_VECTOR": "1"})
    for c in ("f16", "f32"):
        facts = {"op": "ladder-feature", "scope": "subgroup", "features": [[_EXT, "cooperativeMatrixGetCoordinate"], LOCAL_SIZE_ID]}
        defines = {"SCOPE": "gl_ScopeSubgroup", "T": GLSL_TYPES[c]}
        name, source = f"ladder_ext_coordinate_{c}_subgroup", "ladder/coordinate.comp"
        yield Variant(name, source, defines, facts, "vulkan1.3", optimize=False)


def _matrix(scope: str, name: str, source: str, feature: str, defines: dict[str, str]) -> Variant:
    features = [[_NV, feature], LOCAL_SIZE_ID, *(WORKGROUP_SCOPE if scope == "workgroup" else [])]
    facts = {"op": "ladder-feature", "scope": scope, "features": features}
    scoped = {"SCOPE": f"gl_Scope{scope.capitalize()}", **defines}
    return Variant(f"ladder_{name}_{scope}", f"ladder/{source}.comp", scoped, facts, "vulkan1.3")


def _maintenance1(variant: Variant) -> Variant:
    """The same kernel for devices with EXT_cooperative_matrix_maintenance1: its features have the same names."""
    features = [[_EXT if struct == _NV else struct, member] for struct, member in variant.facts["features"]]
    name = variant.name.replace("ladder_", "ladder_ext_", 1)
    return variant._replace(name=name, facts={**variant.facts, "features": features}, maintenance1=True)


_SUBGROUP_OPERATIONS = {
    "add": "two(subgroupAdd(y), subgroupAdd(x))",
    "max": "two(subgroupMax(y), subgroupMax(x))",
    "clustered_add": "two(subgroupClusteredAdd(y, CLUSTER), subgroupClusteredAdd(x, CLUSTER))",
    "clustered_max": "two(subgroupClusteredMax(y, CLUSTER), subgroupClusteredMax(x, CLUSTER))",
    "inclusive_add": "two(subgroupInclusiveAdd(y), subgroupInclusiveAdd(x))",
    "shuffle": "two(subgroupShuffle(y, lane), subgroupShuffle(x, lane))",
    "shuffle_xor": "two(subgroupShuffleXor(y, p.which), subgroupShuffleXor(x, p.which))",
    "broadcast": "two(subgroupBroadcast(y, p.which), subgroupBroadcast(x, p.which))",
    "broadcast_first": "two(subgroupBroadcastFirst(y), subgroupBroadcastFirst(x))",
    "ballot": "subgroupBallot(x > int(p.which))",
    "all": "uvec4(subgroupAll(x > int(p.which)), 0, 0, 0)",
    "any": "uvec4(subgroupAny(x > int(p.which)), 0, 0, 0)",
}


def _subgroups() -> Iterator[Variant]:
    """Each subgroup operation that llama.cpp uses."""
    for name, expression in _SUBGROUP_OPERATIONS.items():
        yield Variant(f"ladder_subgroup_{name}", "ladder/subgroup.comp", {"OP": expression}, {"op": "ladder-feature"})


def _numbers() -> Iterator[Variant]:
    """Conversions of bf16, float8 and the microscaling types."""
    facts = {"op": "ladder-feature"}
    source = "ladder/number.comp"
    bf16 = {"DECODE(w)": "float(uintBitsToBFloat16EXT(uint16_t(w)))", "ENCODE(x)": "bfloat16BitsToUintEXT(bfloat16_t(x))"}
    yield Variant("ladder_number_bf16", source, bf16, facts)
    for kind in FLOAT8:
        defines = {
            "FLOAT8": f"float{kind}_t",
            "DECODE(w)": f"float(uintBitsToFloat{kind}EXT(uint8_t(w)))",
            "DECODE_HALF(w)": f"float16_t(uintBitsToFloat{kind}EXT(uint8_t(w)))",
            "ENCODE(x)": f"float{kind}BitsToUintEXT(float{kind}_t(x))",
            "ENCODE_SATURATED(x)": f"float{kind}BitsToUintEXT(saturated(x))",
        }
        yield Variant(f"ladder_number_{kind}", source, defines, facts)
    for kind in ("e2m1", "e3m2", "e2m3"):
        defines = {"WITH_OCP": "1", "DECODE(w)": f"float(bitcastExtractf{kind}EXT(uint8_t(w), p.shift))"}
        yield Variant(f"ladder_number_{kind}", source, defines, facts)
    for kind in ("ue8m0", "mxint8"):
        defines = {"WITH_OCP": "1", "DECODE(w)": f"float(uintBitsToFloat{kind}EXT(uint8_t(w)))"}
        yield Variant(f"ladder_number_{kind}", source, defines, facts)


def _integer_dots() -> Iterator[Variant]:
    """Four 8-bit pairs: packed into words, as vectors, and by plain arithmetic; of each signedness."""
    for name, a, b, result in (("signed", "int", "int", "int"), ("unsigned", "uint", "uint", "uint"), ("mixed", "int", "uint", "int")):
        signs = {"A_T": a, "B_T": b, "R_T": result, **({"UNSIGNED_RESULT": "1"} if result == "uint" else {})}
        for form, more in (("packed", {}), ("vector", {"VECTOR": "1"}), ("plain", {"PLAIN": "1"})):
            yield Variant(f"ladder_dot_{form}_{name}", "ladder/dot.comp", {**signs, **more}, {"op": "ladder-feature"})


_VECTORS = {
    "f16": ("f16vec2", "unpackFloat2x16(w[i])"),
    "bf16": ("bf16vec2", "uintBitsToBFloat16EXT(unpack16(w[i]))"),
    "bf16x4": ("bf16vec4", "uintBitsToBFloat16EXT(u16vec4(unpack16(w[2 * (i)]), unpack16(w[2 * (i) + 1])))"),
    "e4m3": ("fe4m3vec4", "uintBitsToFloate4m3EXT(unpack8(w[i]))"),
    "e5m2": ("fe5m2vec4", "uintBitsToFloate5m2EXT(unpack8(w[i]))"),
}
_BITS = {"f32": "floatBitsToUint(x)", "f16": "uint(float16BitsToUint16(x))", "bf16": "uint(bfloat16BitsToUintEXT(x))"}
_MIXED = (
    ("f16", "f32", 6916, 6912),
    ("f16", "f16", 6917, 6913),
    ("bf16", "f32", 6916, 6914),
    ("bf16", "bf16", 6917, 6914),
    ("e4m3", "f32", 6918, 6915),
    ("e5m2", "f32", 6918, 6915),
)
"""Vector, accumulator, instruction and capability of SPV_VALVE_mixed_float_dot_product."""


def _float_dots() -> Iterator[Variant]:
    """bf16's own dot product, and the mixed ones with an accumulator, each of those with its plain equivalent for timing."""
    source, facts = "ladder/float_dot.comp", {"op": "ladder-feature"}

    def defines(vector: str, result: str, dot: str) -> dict[str, str]:
        kind, load = _VECTORS[vector]
        return {"V_T": kind, "R_T": GLSL_TYPES[result], "VECTOR(w,i)": load, "BITS(x)": _BITS[result], "DOT": dot}

    for vector in ("bf16", "bf16x4"):
        yield Variant(f"ladder_float_dot_{vector}", source, defines(vector, "bf16", "dot(x, y)"), facts)
    for vector, result, instruction, capability in _MIXED:
        numbers = {"MIXED": str(instruction), "MIXED_CAPABILITY": str(capability)}
        name = f"{vector}_{result}"
        yield Variant(f"ladder_mixed_dot_{name}", source, {**defines(vector, result, "mixed_dot(x, y, z)"), **numbers}, facts)
    converted = "fma(float(x.x), float(y.x), fma(float(x.y), float(y.y), z))"
    for vector in ("f16", "bf16"):
        yield Variant(f"ladder_plain_dot_{vector}_f32", source, defines(vector, "f32", converted), facts)
    yield Variant("ladder_plain_dot_f16_f16", source, defines("f16", "f16", "fma(x.x, y.x, fma(x.y, y.y, z))"), facts)
    of_four = f"fma(float(x.z), float(y.z), fma(float(x.w), float(y.w), {converted}))"
    for vector in FLOAT8:
        yield Variant(f"ladder_plain_dot_{vector}_f32", source, defines(vector, "f32", of_four), facts)


def _halves() -> Iterator[Variant]:
    """f16 arithmetic, and the same in f32 for timing."""
    yield Variant("ladder_half_f16", "ladder/half.comp", {}, {"op": "ladder-feature"})
    yield Variant("ladder_half_f32", "ladder/half.comp", {"PLAIN": "1"}, {"op": "ladder-feature"})
