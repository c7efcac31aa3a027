// iq4_nl for block loads: see type.glsl for the layout. As llama.cpp has it, codes are loaded by bytes.
#define BLOCK_ELEMENTS 32
#include "../decode.glsl"
BLOCK(2) {
    float16_t d;
    uint8_t qs[16];
};
#include "../iq4_values.glsl"
#define NUMBERS IQ4_VALUES
#include "../table_decode.glsl"

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    return table[(uint(block.qs[i & 15]) >> ((i & 16) >> 2)) & 15] * block.d;
}
