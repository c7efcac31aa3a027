// iq4_xs against q8_1: super-blocks of 256 in 136 bytes, d f16 @0, scales_h u16 @2, scales_l[4] @4, qs[128] @8; d * (scale - 32) * d8 *
// sum of q * q8 of each of eight sub-blocks of 32, whose 16 bytes of qs have low halves first. Loads are of 32 bits, of scales_h 16.
struct block_iq4_xs {
    float16_t d;
    uint16_t scales_h;
    uint scales_l;
    uint qs[32];
};
layout(binding = 0, std430) readonly buffer Weights { block_iq4_xs weights[]; };

#include "../iq4_values.glsl"
const int a_values[16] = {IQ4_VALUES};
#include "../table_intdot.glsl"

#define A_SCALE float
A_SCALE a_scale(uint block) {
    const uint at = block >> 3;
    const uint low = weights[at].scales_l >> (4 * (block & 7)) & 15;
    const uint high = uint(weights[at].scales_h) >> (2 * (block & 7)) & 3;
    return float(weights[at].d) * float(int(low | high << 4) - 32);
}

#define A_ITEMS 4
#define A_PAIR
#define A_STAGES_PAIRS
ivec2 a_pair(uint block, uint i) { return a_looked_up_halves(weights[block >> 3].qs[(block & 7) * 4 + i]); }
#define A_ELEMENTS 32
#include "../int8_intdot.glsl"
