// q4_k for block loads: super-blocks of 256 in 144 bytes, d, dmin and scales @0, qs[128] @16.
// The low halves of each 32 bytes of qs are one sub-block of 32, the high halves the next.
#define BLOCK_ELEMENTS 256
#define BLOCK_UVEC4S 9
#include "../decode.glsl"
#include "../k_scales.glsl"
BLOCK(16) {
    uvec4 header;
    uint16_t qs[64];
};

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    const SCALE2 scale = SCALE(block, block_at, i);
    const uint pair = (uint(block.qs[((i & 0xC0) >> 2) + ((i & 30) >> 1)]) >> ((i & 32) >> 3)) & 0x0F0Fu;
    return SCALED(scale, unsigned_of_pair(pair, i, float16_t(0.0)));
}
