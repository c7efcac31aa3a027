#version 450
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int16 : require
// f32 activations to f16, or to bf16; elements behind the last whole vector are converted one by one.
layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint BLOCK_SIZE = 256; // invocations; each converts four elements

layout(binding = 0, std430) readonly buffer InputV { vec4 values_v[]; };
layout(binding = 0, std430) readonly buffer InputS { float values_s[]; };
#ifdef TO_BF16
// The upper half of f32, rounded to nearest even.
uvec4 bf16(vec4 v) {
    const uvec4 bits = floatBitsToUint(v);
    return (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
}
#define VECTOR(v) u16vec4(bf16(v))
#define SCALAR(v) uint16_t(bf16(vec4(v)).x)
#define RESULT4 u16vec4
#define RESULT uint16_t
#else
#define VECTOR(v) f16vec4(v)
#define SCALAR(v) float16_t(v)
#define RESULT4 f16vec4
#define RESULT float16_t
#endif
layout(binding = 2, std430) writeonly buffer OutputV { RESULT4 result_v[]; };
layout(binding = 2, std430) writeonly buffer OutputS { RESULT result_s[]; };
layout(push_constant) uniform Problem { uint M; uint N; uint K; } p;

void main() {
    const uint elements = p.N * p.K;
    const uint at = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * BLOCK_SIZE + gl_LocalInvocationIndex;
    if (at < elements / 4) {
        result_v[at] = VECTOR(values_v[at]);
    } else {
        for (uint i = at * 4; i < elements; ++i) {
            result_s[i] = SCALAR(values_s[i]);
        }
    }
}
