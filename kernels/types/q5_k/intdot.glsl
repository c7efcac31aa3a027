// q5_k against q8_1: super-blocks of 256 in 176 bytes, d, dmin and scales @0, qh[32] @16, qs[128] @48: q4_k's codes with a fifth bit,
// bit s of qh[i] that of element i of sub-block s. Loads are of 32 bits; of the GEMM's scales 8.
struct block_q5_k {
    uint dm;
    uint scales[3];
    uint qh[8];
    uint qs[32];
};
layout(binding = 0, std430) readonly buffer Weights { block_q5_k weights[]; };

int a_word(uint block, uint i) {
    const uint sub = block & 7;
    const uint low = weights[block >> 3].qs[(sub >> 1) * 8 + i] >> (4 * (sub & 1));
    const uint high = weights[block >> 3].qh[i] >> sub;
    return int((low & 0x0F0F0F0Fu) | ((high & 0x01010101u) << 4));
}

#define A_ITEMS 8
int a_staged(uint block, uint i) { return a_word(block, i); }
#include "../bytes.glsl"
#define BLOCK_CODE_WORDS 40
#include "../k_intdot.glsl"
