// q3_k for block loads: see type.glsl for the layout. As llama.cpp has it, codes and scales are loaded by bytes.
#define BLOCK_ELEMENTS 256
#include "../decode.glsl"
BLOCK(2) {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    float16_t d;
};

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    const uint s = (i & 0xF0) >> 4;
    const uint low = uint(block.scales[s & 7]) >> (s >> 3) * 4 & 15;
    const uint high = uint(block.scales[8 + (s & 3)]) >> (s >> 2) * 2 & 3;
    const float16_t scale = block.d * float16_t(int(low | high << 4) - 32);
    const uint code = (uint(block.qs[((i & 128) >> 2) + (i & 31)]) >> ((i & 96) >> 4)) & 3;
    const uint third = (uint(block.hmask[i & 31]) >> (i >> 5)) & 1;
    return scale * float16_t(int(code) - int((third ^ 1) << 2));
}
