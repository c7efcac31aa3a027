#version 450
// Dot products of small float vectors: of two words (f16, bf16) or one (float8), with an accumulator where the operation has one.
// From the defines: VECTOR(word) makes a vector, DOT(x, y, z) a number in f32's bits or the type's own; PLAIN is DOT by plain arithmetic.
#extension GL_EXT_shader_explicit_arithmetic_types : require
#extension GL_EXT_bfloat16 : enable
#extension GL_EXT_float_e4m3 : enable
#extension GL_EXT_float_e5m2 : enable
#extension GL_EXT_spirv_intrinsics : enable

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(binding = 0, std430) readonly buffer BufferA { uint a[]; };
layout(binding = 1, std430) readonly buffer BufferB { uint b[]; };
layout(binding = 2, std430) writeonly buffer BufferD { uint d[]; };
layout(binding = 3, std430) readonly buffer BufferC { float c[]; };
layout(push_constant) uniform Parameters { uint unused; uint steps; uint more; } p;
#define CHAINS 8

// glslang has no names for these instructions yet, so they are given by number.
#if defined(MIXED)
spirv_instruction(extensions = ["SPV_VALVE_mixed_float_dot_product"], capabilities = [MIXED_CAPABILITY], id = MIXED)
R_T mixed_dot(V_T x, V_T y, R_T z);
#endif

R_T dotted(V_T x, V_T y, R_T z) {
    return DOT;
}

void main() {
    const uint at = gl_GlobalInvocationID.x;
    if (p.steps == 0) {
        d[at] = BITS(dotted(VECTOR(a, at), VECTOR(b, at), R_T(c[at])));
        return;
    }
    // For timing: independent chains, each result the accumulator of its next step.
    R_T chain[CHAINS];
    V_T x[CHAINS];
    for (uint i = 0; i < CHAINS; ++i) {
        chain[i] = R_T(c[i]);
        x[i] = VECTOR(a, i + at % CHAINS);
    }
    const V_T y = VECTOR(b, 0);
    for (uint s = 0; s < p.steps; ++s) {
        for (uint i = 0; i < CHAINS; ++i) {
            chain[i] = dotted(x[i], y, chain[i]);
        }
    }
    float sum = 0.0;
    for (uint i = 0; i < CHAINS; ++i) {
        sum += float(chain[i]);
    }
    d[at] = floatBitsToUint(sum);
}
