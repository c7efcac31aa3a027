// iq4_xs: super-blocks of 256 in 136 bytes, d f16 @0, scales_h u16 @2, scales_l[4] @4, qs[128] @8.
// Sub-block s of 32 has 16 bytes of qs: y[j] = d * (scale(s) - 32) * table[qs[j] & 15], y[j + 16] the same of qs[j] >> 4; of its scale
// scales_l has the low four bits (two to a byte), scales_h the upper two. All loads are of 16 bits; a chunk is four bytes of qs.
#define A_TABLE
struct block_iq4_xs {
    float16_t d;
    uint16_t scales_h;
    uint16_t scales_l[2];
    uint16_t qs[64];
};
layout(binding = 0, std430) readonly buffer Weights { block_iq4_xs weights[]; };

const float a_values[16] = {-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0};
#include "../table.glsl"

uint a_first(uint chunk) { return (chunk >> 2) * 32 + (chunk & 3) * 4; }
uint a_second(uint chunk) { return a_first(chunk) + 16; }

vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    const uint block = chunk >> 5;
    const uint sub = (chunk >> 2) & 7;
    const uint at = (chunk & 31) * 2;
    const uint bits = uint(weights[block].qs[at]) | uint(weights[block].qs[at + 1]) << 16;
    first = a_looked_up(bits & 0x0F0F0F0Fu);
    second = a_looked_up((bits >> 4) & 0x0F0F0F0Fu);
    const uint low = uint(weights[block].scales_l[sub >> 2]) >> (4 * (sub & 3)) & 15;
    const uint high = uint(weights[block].scales_h) >> (2 * sub) & 3;
    return vec2(float(weights[block].d) * (float(low | high << 4) - 32.0), 0.0);
}
