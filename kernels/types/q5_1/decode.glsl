// q5_1 for block loads: see type.glsl for the layout. As llama.cpp has it, codes are loaded by bytes.
#define BLOCK_ELEMENTS 32
#include "../decode.glsl"
BLOCK(8) {
    float16_t d;
    float16_t m;
    uint qh;
    uint8_t qs[16];
};

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    const uint q = ((uint(block.qs[i & 15]) >> ((i & 16) >> 2)) & 15) | ((block.qh >> i << 4) & 16);
    return float16_t(q) * block.d + block.m;
}
