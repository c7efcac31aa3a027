// nvfp4: blocks of 64 in 36 bytes, d[4] @0, qs[32] @4: four sub-blocks of 16 with an e4m3 scale and eight bytes each;
// y[j] = d / 2 * table[qs[j] & 15], y[j + 8] the same of qs[j] >> 4; the table has twice the values of e2m1. As llama.cpp has it, all loads
// are of bytes, and scales are looked up too.
#define A_TABLE
struct block_nvfp4 {
    uint8_t d[4];
    uint8_t qs[32];
};
layout(binding = 0, std430) readonly buffer Weights { block_nvfp4 weights[]; };

#include "../e2m1.glsl"
const float a_values[16] = {E2M1_DOUBLED};
#define A_VALUE int8_t
#define A_SCALE_VALUES 128
#include "../ue4m3.glsl"
#include "../table.glsl"

float a_sub_scale(uint block, uint sub) { return a_scales[uint(weights[block].d[sub])]; }

// A piece is two bytes: two elements and the two 8 after them.
#define A_STAGED 4
#define A_APART 8
uint a_pair(uint piece) { return (piece >> 2) * 16 + (piece & 3) * 2; }

vec2 a_load4(uint piece, out vec4 v) {
    const uint block = piece >> 4;
    const uint at = (piece & 15) * 2;
    const uvec2 bits = uvec2(weights[block].qs[at], weights[block].qs[at + 1]);
    const uvec4 codes = uvec4(bits & 15, bits >> 4);
    v = vec4(a_table[codes.x], a_table[codes.y], a_table[codes.z], a_table[codes.w]);
    return vec2(a_sub_scale(block, at >> 3) * 0.5, 0.0);
}

uint a_first(uint chunk) { return chunk * 8; }
uint a_second(uint chunk) { return chunk * 8 + 4; }

// A chunk is the low halves of a sub-block's eight bytes, or the high ones. The GEMV scales element by element.
vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    const uint block = chunk >> 3;
    const uint sub = chunk >> 1 & 3;
    const uint shift = (chunk & 1) * 4;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        first[i] = float(a_table[uint(weights[block].qs[sub * 8 + i]) >> shift & 15]);
        second[i] = float(a_table[uint(weights[block].qs[sub * 8 + 4 + i]) >> shift & 15]);
    }
    const float d = a_sub_scale(block, sub);
#ifdef GEMV
    first = first * d * 0.5;
    second = second * d * 0.5;
    return vec2(1.0, 0.0);
#else
    return vec2(d * 0.5, 0.0);
#endif
}
