// q4_k against q8_1: super-blocks of 256 in 144 bytes, d, dmin and scales @0, qs[128] @16: of each 32 bytes the low halves are one
// sub-block of 32, the high halves the next. Loads are of 32 bits; of the GEMM's scales 8.
struct block_q4_k {
    uint dm;
    uint scales[3];
    uint qs[32];
};
layout(binding = 0, std430) readonly buffer Weights { block_q4_k weights[]; };

int a_word(uint block, uint i) {
    const uint sub = block & 7;
    return int((weights[block >> 3].qs[(sub >> 1) * 8 + i] >> (4 * (sub & 1))) & 0x0F0F0F0Fu);
}

// The sub-block's words are staged in pairs: the even one in the low halves, the odd one in the high ones.
#define A_WORDS 4
#define A_ITEMS 4
int a_staged(uint block, uint i) { return a_word(block, i * 2) | a_word(block, i * 2 + 1) << 4; }

#ifndef INT8_MATRIX
int a_dot(int a[4], int b[8], uint first, uint end) {
    int sum = 0;
    [[unroll]] for (uint i = first; i < end; ++i) {
        sum += dotPacked4x8EXT(a[i] & 0x0F0F0F0F, b[i * 2]) + dotPacked4x8EXT((a[i] >> 4) & 0x0F0F0F0F, b[i * 2 + 1]);
    }
    return sum;
}
#endif
#define BLOCK_CODE_WORDS 32
#include "../k_intdot.glsl"
