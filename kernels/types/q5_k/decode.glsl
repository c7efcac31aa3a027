// q5_k for block loads: super-blocks of 256 in 176 bytes, d, dmin and scales @0, qh[32] @16, qs[128] @48.
// qs as in q4_k; bit s of byte l of qh is the fifth bit of element l of sub-block s.
#define BLOCK_ELEMENTS 256
#define BLOCK_UVEC4S 11
#include "../decode.glsl"
#include "../k_scales.glsl"
BLOCK(16) {
    uvec4 header;
    uint16_t qh[16];
    uint16_t qs[64];
};

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    const SCALE2 scale = SCALE(block, block_at, i);
    const uint low = (uint(block.qs[((i & 0xC0) >> 2) + ((i & 30) >> 1)]) >> ((i & 32) >> 3)) & 0x0F0Fu;
    const uint high = ((uint(block.qh[(i & 30) >> 1]) >> (i >> 5)) & 0x0101u) << 4;
    return SCALED(scale, unsigned_of_pair(low | high, i, float16_t(0.0)));
}
