// mxfp4 against q8_1: blocks of 32 in 17 bytes, e @0, qs[16] @1, low halves first, each an e2m1 number; d * d8 * sum of q * q8 with
// the numbers doubled and d = 2^(e - 128). 17 is odd: all loads are of bytes.
#extension GL_EXT_shader_8bit_storage : require
struct block_mxfp4 {
    uint8_t e;
    uint8_t qs[16];
};
layout(binding = 0, std430) readonly buffer Weights { block_mxfp4 weights[]; };

// The doubled numbers as int8: 0 1 2 3 4 6 8 12, then their negatives.
const uint a_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, 0xFF, 0xFE, 0xFD, 0xFC, 0xFA, 0xF8, 0xF4};
#include "../table_intdot.glsl"

#define A_SCALE float
A_SCALE a_scale(uint block) {
    const uint e = uint(weights[block].e);
    return uintBitsToFloat(e < 2 ? 0x00200000u << e : (e - 1) << 23);
}

#define A_ITEMS 4
#define A_PAIR
#define A_STAGES_PAIRS
ivec2 a_pair(uint block, uint i) {
    uvec2 words = uvec2(0);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        words |= a_looked_up(uint(weights[block].qs[i * 4 + j]), j);
    }
    return ivec2(words);
}
#include "../int8_intdot.glsl"
