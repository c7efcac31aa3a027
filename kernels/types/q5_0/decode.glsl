// q5_0 for block loads: see type.glsl for the layout. As llama.cpp has it, codes are loaded by bytes.
#define BLOCK_ELEMENTS 32
#include "../decode.glsl"
BLOCK(2) {
    float16_t d;
    uint16_t qh[2];
    uint8_t qs[16];
};

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    const uint fifths = uint(block.qh[1]) << 16 | uint(block.qh[0]);
    const uint q = ((uint(block.qs[i & 15]) >> ((i & 16) >> 2)) & 15) | ((fifths >> i << 4) & 16);
    return (float16_t(q) - float16_t(16.0)) * block.d;
}
