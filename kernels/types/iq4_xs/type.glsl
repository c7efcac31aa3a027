// iq4_xs: super-blocks of 256 in 136 bytes, d f16 @0, scales_h u16 @2, scales_l[4] @4, qs[128] @8.
// Sub-block s of 32 has 16 bytes of qs: y[j] = d * (scale(s) - 32) * table[qs[j] & 15], y[j + 16] the same of qs[j] >> 4; of its scale
// scales_l has the low four bits (two to a byte), scales_h the upper two. Codes are loaded by 32 bits.
#define A_TABLE
struct block_iq4_xs {
    float16_t d;
    uint16_t scales_h;
    uint8_t scales_l[4];
    uint qs[32];
};
layout(binding = 0, std430) readonly buffer Weights { block_iq4_xs weights[]; };

#include "../iq4_values.glsl"
const float a_values[16] = {IQ4_VALUES};
#ifdef ARITHMETIC_F16
#define A_VALUE float16_t
#else
#define A_VALUE float
#endif
#include "../table.glsl"

float a_sub_scale(uint block, uint sub) {
    const uint low = uint(weights[block].scales_l[sub >> 1]) >> (4 * (sub & 1)) & 15;
    const uint high = uint(weights[block].scales_h) >> (2 * sub) & 3;
    return float(weights[block].d) * (float(low | high << 4) - 32.0);
}

// Four elements and the four 16 after them, unscaled, of word `word` of a super-block.
void a_sub_load(uint block, uint word, out vec4 first, out vec4 second) {
    const uint codes = weights[block].qs[word];
    first = a_looked_up(codes & 0x0F0F0F0Fu);
    second = a_looked_up((codes >> 4) & 0x0F0F0F0Fu);
}

#ifdef GEMV
uint a_sub_codes(uint block, uint word) { return weights[block].qs[word]; } // as a_sub_load's
#endif

#include "../halves.glsl"

// A chunk is a word: pieces of eight.
vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    a_sub_load(chunk >> 5, chunk & 31, first, second);
    return vec2(a_sub_scale(chunk >> 5, chunk >> 2 & 7), 0.0);
}
#define A_SUB_BLOCKS
