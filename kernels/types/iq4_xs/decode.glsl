// iq4_xs for block loads: super-blocks of 256 in 136 bytes, d f16 @0, scales_h u16 @2, scales_l[4] @4, qs[128] @8.
// A sub-block of 32 has 16 bytes, low halves first, each an index into a table; its scale has 6 bits, four in scales_l. As llama.cpp has
// it, codes and scales are loaded by bytes.
#define BLOCK_ELEMENTS 256
#include "../decode.glsl"
BLOCK(2) {
    float16_t d;
    uint16_t scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
};
#include "../iq4_values.glsl"
#define NUMBERS IQ4_VALUES
#include "../table_decode.glsl"

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    const uint s = (i & 0xE0) >> 5; // so that neighbours' are seen to be one: NVIDIA 580.159.04 loads scales_l twice after i >> 5
    const uint bits = (uint(block.scales_l[s >> 1]) >> (4 * (s & 1)) & 15) | (uint(block.scales_h) >> (2 * s) & 3) << 4;
    const uint q = uint(block.qs[16 * s + (i & 15)]) >> ((i & 16) >> 2) & 15;
    return block.d * float16_t(int(bits) - 32) * table[q];
}
