// iq4_nl: blocks of 32 in 18 bytes, d f16 @0, qs[16] @2; y[j] = d * table[qs[j] & 15], y[j + 16] = d * table[qs[j] >> 4].
// 18 is no multiple of four: all loads are of 16 bits.
#define A_TABLE
struct block_iq4_nl {
    float16_t d;
    uint16_t qs[8];
};
layout(binding = 0, std430) readonly buffer Weights { block_iq4_nl weights[]; };

#include "../iq4_values.glsl"
const float a_values[16] = {IQ4_VALUES};
#ifdef ARITHMETIC_F16
#define A_VALUE float16_t
#else
#define A_VALUE float
#endif
#include "../table.glsl"

// Where the path stages f16 it scales in f16, as llama.cpp does for this type alone: no scale is left then.
vec2 a_load4(uint piece, out vec4 v) {
    const uint block = piece >> 3;
    const uint bits = uint(weights[block].qs[piece & 7]);
    const uvec4 at = uvec4(bits, bits >> 8, bits >> 4, bits >> 12) & 15;
#ifdef ARITHMETIC_F16
    v = vec4(weights[block].d * f16vec4(a_table[at.x], a_table[at.y], a_table[at.z], a_table[at.w]));
    return vec2(1.0, 0.0);
#else
    v = vec4(a_table[at.x], a_table[at.y], a_table[at.z], a_table[at.w]);
    return vec2(float(weights[block].d), 0.0);
#endif
}
#include "../apart.glsl"
