// mxfp4: blocks of 32 in 17 bytes, e u8 @0, qs[16] @1; y[j] = 2^(e - 128) * table[qs[j] & 15], y[j + 16] the same of qs[j] >> 4;
// the table has twice the values of e2m1. 17 is odd: all loads are of bytes. A chunk is four bytes of qs.
#define A_TABLE
struct block_mxfp4 {
    uint8_t e;
    uint8_t qs[16];
};
layout(binding = 0, std430) readonly buffer Weights { block_mxfp4 weights[]; };

#include "../e2m1.glsl"
#include "../e8m0.glsl"
const float a_values[16] = {E2M1_DOUBLED};
#define A_VALUE int8_t
#include "../table.glsl"

#include "../halves.glsl"

// A piece is two bytes: two elements and the two 16 after them.
#define A_STAGED 4
#define A_APART 16
uint a_pair(uint piece) { return (piece >> 3) * 32 + (piece & 7) * 2; }

vec2 a_load4(uint piece, out vec4 v) {
    const uint block = piece >> 3;
    const uint at = (piece & 7) * 2;
    const uvec2 bits = uvec2(weights[block].qs[at], weights[block].qs[at + 1]);
    const uvec4 codes = uvec4(bits & 15, bits >> 4);
    v = vec4(a_table[codes.x], a_table[codes.y], a_table[codes.z], a_table[codes.w]);
    const uint e = uint(weights[block].e);
    return vec2(E8M0_HALVED(e), 0.0);
}

vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    vec4 low, high;
    a_load4(chunk * 2 + 1, high);
    const vec2 scale = a_load4(chunk * 2, low);
    first = vec4(low.xy, high.xy);
    second = vec4(low.zw, high.zw);
    return scale;
}
