// mxfp4: blocks of 32 in 17 bytes, e u8 @0, qs[16] @1; y[j] = 2^(e - 128) * table[qs[j] & 15], y[j + 16] the same of qs[j] >> 4;
// the table has twice the values of e2m1. 17 is odd: all loads are of bytes. A chunk is four bytes of qs.
#define A_TABLE
struct block_mxfp4 {
    uint8_t e;
    uint8_t qs[16];
};
layout(binding = 0, std430) readonly buffer Weights { block_mxfp4 weights[]; };

const float a_values[16] = {0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0};
#include "../table.glsl"

uint a_first(uint chunk) { return (chunk >> 2) * 32 + (chunk & 3) * 4; }
uint a_second(uint chunk) { return a_first(chunk) + 16; }

vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    const uint block = chunk >> 2;
    const uint at = (chunk & 3) * 4;
    const uvec4 bits = uvec4(weights[block].qs[at], weights[block].qs[at + 1], weights[block].qs[at + 2], weights[block].qs[at + 3]);
    const uvec4 low = bits & 15;
    const uvec4 high = bits >> 4;
    first = vec4(a_table[low.x], a_table[low.y], a_table[low.z], a_table[low.w]);
    second = vec4(a_table[high.x], a_table[high.y], a_table[high.z], a_table[high.w]);
    const uint e = uint(weights[block].e);
    return vec2(uintBitsToFloat(e < 2 ? 0x00200000u << e : (e - 1) << 23), 0.0);
}
