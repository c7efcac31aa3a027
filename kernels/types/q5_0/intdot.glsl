// q5_0 against q8_1: blocks of 32 in 22 bytes, d f16 @0, qh[4] @2, qs[16] @6; d * (d8 * sum of q * q8 - 16 * s8).
// 22 is no multiple of four: all loads are of 16 bits.
#include "../five_bits.glsl"
#include "block.glsl"

uint fifths_of(uint block) { return uint(weights[block].qh[0]) | uint(weights[block].qh[1]) << 16; }

int a_staged(uint block, uint i) { return int(uint(weights[block].qs[i * 2]) | uint(weights[block].qs[i * 2 + 1]) << 16); }

A_SCALE a_scale(uint block) { return uvec2(fifths_of(block), floatBitsToUint(float(weights[block].d))); }

float a_product(int a[A_WORDS], A_SCALE scale, int b[8], vec2 ds) {
    return uintBitsToFloat(scale.y) * (float(a_dot(a, scale.x, b)) * ds.x - 16.0 * ds.y);
}

ivec2 a_pair(uint block, uint i) { return a_five_bits(uint(a_staged(block, i)), fifths_of(block), i); }

float part_product(uint block, uint part, int sum, vec2 ds) {
    return float(weights[block].d) * (float(sum) * ds.x - 4.0 * ds.y); // of the block's 16 * s8 each of its four parts takes a quarter
}
