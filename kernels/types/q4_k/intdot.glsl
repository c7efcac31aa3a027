// q4_k against q8_1: super-blocks of 256 in 144 bytes, d, dmin and scales @0, qs[128] @16: of each 32 bytes the low halves are one
// sub-block of 32, the high halves the next.
#define BLOCK_UVEC4S 9
layout(binding = 0, std430) readonly buffer Weights { uvec4 weights[]; };

void a_sixteen(uint block, uint pair, uint side, out ivec4 q0, out ivec4 q1) {
    const uvec4 q = weights[block * BLOCK_UVEC4S + 1 + pair * 2 + side];
    q0 = ivec4(q & 0x0F0F0F0Fu);
    q1 = ivec4((q >> 4) & 0x0F0F0F0Fu);
}
#include "../k_intdot.glsl"

// An item is 32 bytes of qs.
#define A_CHUNKS 1
#define A_ITEMS 2
#define A_GIVES 2
#define A_PAD 2
#define A_PLANE(item, i) ((item) * 2 + (i))
void a_stage(uint first, uint last, uint item, out ivec4 q[A_GIVES]) {
    const uint block = first >> 3;
    const uint pair = ((first & 7) >> 1) + item;
    ivec4 low[2], high[2];
    a_sixteen(block, pair, 0, low[0], low[1]);
    a_sixteen(block, pair, 1, high[0], high[1]);
    q[0] = low[0] | (high[0] << 4);
    q[1] = low[1] | (high[1] << 4);
}
#include "../halves.glsl"
