// q4_1 against q8_1: blocks of 32 in 20 bytes, d f16 @0, m f16 @2, qs[16] @4, low halves first; d * d8 * sum of q * q8 + m * s8.
// Loads are of 32 bits. d and m are staged as they lie.
#include "../halves_intdot.glsl"
#include "block.glsl"

#define A_WORDS 4
int a_staged(uint block, uint i) { return int(weights[block].qs[i]); }

#define A_SCALE uint
A_SCALE a_scale(uint block) { return weights[block].dm; }

float a_product(int a[A_WORDS], A_SCALE scale, int b[8], vec2 ds) {
    int sum = 0;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        const ivec2 q = a_halves(uint(a[i]));
        sum += dotPacked4x8EXT(q.x, b[i]);
        sum += dotPacked4x8EXT(q.y, b[i + 4]);
    }
    const vec2 dm = unpackHalf2x16(scale);
    return float(sum) * dm.x * ds.x + dm.y * ds.y;
}

ivec2 a_pair(uint block, uint i) { return a_halves(weights[block].qs[i]); }

float part_product(uint block, uint part, int sum, vec2 ds) {
    const vec2 dm = unpackHalf2x16(weights[block].dm);
    return float(sum) * dm.x * ds.x + dm.y * ds.y / 4.0; // each of the block's four parts takes a quarter of its offset
}
