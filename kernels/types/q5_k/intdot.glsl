// q5_k against q8_1: super-blocks of 256 in 176 bytes, d, dmin and scales @0, qh[32] @16, qs[128] @48: q4_k's codes with a fifth bit,
// bit s of qh[i] that of element i of sub-block s.
#define BLOCK_UVEC4S 11
layout(binding = 0, std430) readonly buffer Weights { uvec4 weights[]; };

void a_sixteen(uint block, uint pair, uint side, out ivec4 q0, out ivec4 q1) {
    const uvec4 q = weights[block * BLOCK_UVEC4S + 3 + pair * 2 + side];
    const uvec4 high = weights[block * BLOCK_UVEC4S + 1 + side] >> (pair * 2);
    q0 = ivec4((q & 0x0F0F0F0Fu) | ((high & 0x01010101u) << 4));
    q1 = ivec4(((q >> 4) & 0x0F0F0F0Fu) | ((high & 0x02020202u) << 3));
}
#include "../k_intdot.glsl"

// An item is 32 bytes of qs.
#define A_CHUNKS 2
#define A_ITEMS 2
#define A_GIVES 4
#define A_PAD 1
#define A_PLANE(item, i) ((item) * 4 + (i))
void a_stage(uint first, uint last, uint item, out ivec4 q[A_GIVES]) {
    const uint block = first >> 3;
    const uint pair = ((first & 7) >> 1) + item;
    a_sixteen(block, pair, 0, q[0], q[2]);
    a_sixteen(block, pair, 1, q[1], q[3]);
}
#include "../bytes.glsl"
