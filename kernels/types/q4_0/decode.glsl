// q4_0 for block loads: see type.glsl for the layout.
#define BLOCK_ELEMENTS 32
#include "../decode.glsl"
BLOCK(2) {
    float16_t d;
    uint16_t qs[8];
};

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    const uint pair = (uint(block.qs[(i & 14) >> 1]) >> ((i & 16) >> 2)) & 0x0F0Fu;
    return unsigned_of_pair(pair, i, float16_t(8.0)) * block.d;
}
