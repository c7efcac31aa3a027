// q4_0 against q8_1: blocks of 32 in 18 bytes, d f16 @0, qs[16] @2, low halves first; d * (d8 * sum of q * q8 - 8 * s8).
#define BLOCK_WORDS 4
#include "../d_block.glsl"
#define A_WORDS 4 // as they lie in the block
#define A_ELEMENTS 8

#ifndef INT8_MATRIX
float a_product(int a[4], A_SCALE d, int b[8], vec2 ds) {
    int sum = 0;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        sum += dotPacked4x8EXT(a[i] & 0x0F0F0F0F, b[i]);
        sum += dotPacked4x8EXT((a[i] >> 4) & 0x0F0F0F0F, b[i + 4]);
    }
    return d * (ds.x * float(sum) - 8.0 * ds.y);
}
#endif

#define A_PAIR
ivec2 a_pair(uint block, uint i) {
    const int codes = a_word(block, i);
    return ivec2(codes & 0x0F0F0F0F, (codes >> 4) & 0x0F0F0F0F);
}

#ifndef INT8_MATRIX
float part_product(uint block, uint part, int sum, vec2 ds) {
    return a_scale(block) * (ds.x * float(sum) - 2.0 * ds.y); // of the block's 8 * s8 each of its four parts takes a quarter
}
#endif
