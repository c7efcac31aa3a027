// mxfp4 against q8_1: blocks of 32 in 17 bytes, e @0, qs[16] @1, low halves first, each an e2m1 number; d * d8 * sum of q * q8 with
// the numbers doubled and d = 2^(e - 128). 17 is odd: all loads are of bytes.
#extension GL_EXT_shader_8bit_storage : require
struct block_mxfp4 {
    uint8_t e;
    uint8_t qs[16];
};
layout(binding = 0, std430) readonly buffer Weights { block_mxfp4 weights[]; };

#include "../e2m1.glsl"
#include "../e8m0.glsl"
const int a_values[16] = {E2M1_DOUBLED};
#include "../table_intdot.glsl"

#define A_SCALE float
A_SCALE a_scale(uint block) {
    const uint e = uint(weights[block].e);
    return E8M0_HALVED(e);
}

#define A_ITEMS 4
#define A_PAIR
#define A_STAGES_PAIRS
ivec2 a_pair(uint block, uint i) {
    const uint at = i * 4;
    return a_looked_up_halves(
        pack32(u8vec4(weights[block].qs[at], weights[block].qs[at + 1], weights[block].qs[at + 2], weights[block].qs[at + 3]))
    );
}
#include "../int8_intdot.glsl"
