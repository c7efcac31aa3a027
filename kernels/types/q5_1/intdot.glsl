// q5_1 against q8_1: blocks of 32 in 24 bytes, d f16 @0, m f16 @2, qh[4] @4, qs[16] @8; d * d8 * sum of q * q8 + m * s8.
// Loads are of 32 bits; of codes in the GEMV 16. d and m are staged as they lie.
#include "../five_bits.glsl"
#include "block.glsl"
layout(binding = 0, std430) readonly buffer WeightsH { uint16_t weights_h[]; };

int a_staged(uint block, uint i) { return int(weights[block].qs[i]); }

A_SCALE a_scale(uint block) { return uvec2(weights[block].qh, weights[block].dm); }

float a_product(int a[A_WORDS], A_SCALE scale, int b[8], vec2 ds) {
    const vec2 dm = unpackHalf2x16(scale.y);
    return float(a_dot(a, scale.x, b)) * dm.x * ds.x + dm.y * ds.y;
}

ivec2 a_pair(uint block, uint i) {
    const uint at = block * 12 + 4 + i * 2;
    return a_five_bits(uint(weights_h[at]) | uint(weights_h[at + 1]) << 16, weights[block].qh, i);
}

float part_product(uint block, uint part, int sum, vec2 ds) {
    const vec2 dm = unpackHalf2x16(weights[block].dm);
    return float(sum) * dm.x * ds.x + dm.y * ds.y / 4.0; // each of the block's four parts takes a quarter of its offset
}
