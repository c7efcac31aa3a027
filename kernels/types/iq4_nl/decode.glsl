// iq4_nl for block loads: see type.glsl for the layout. As llama.cpp has it, codes are loaded by bytes.
#define BLOCK_ELEMENTS 32
#define DECODE_TABLE
#include "../decode.glsl"
BLOCK(2) {
    float16_t d;
    uint8_t qs[16];
};
shared float16_t table[16];

void decode_init() {
    const int numbers[16] = int[](-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
    if (gl_LocalInvocationIndex < 16) {
        table[gl_LocalInvocationIndex] = float16_t(numbers[gl_LocalInvocationIndex]);
    }
}

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    return table[(uint(block.qs[i & 15]) >> ((i & 16) >> 2)) & 15] * block.d;
}
