// q4_k and q5_k against q8_1: d * scale * d8 * sum of q * q8 - dmin * minimum * s8 of each of eight sub-blocks of 32.
// Wants weights with `dm` and `scales`.
#include "two_scales.glsl"
#include "six_bits.glsl"
#define A_ELEMENTS 16

vec2 scale_of(uint block) { return unpackHalf2x16(weights[block >> 3].dm) * vec2(k_scale(weights[block >> 3].scales, block & 7)); }

A_SCALE a_scale(uint block) { return packed(scale_of(block)); }

float a_product(int a[A_WORDS], A_SCALE scale, int b[8], vec2 ds) {
    const vec2 dm = unpackHalf2x16(scale);
    return ds.x * dm.x * float(a_dot(a, b, 0, A_WORDS)) - dm.y * ds.y;
}

float part_product(uint block, uint part, int sum, vec2 ds) {
    const vec2 dm = scale_of(block);
    return ds.x * dm.x * float(sum) - 0.5 * dm.y * ds.y; // a sub-block has two parts, each of which takes half of its offset
}
