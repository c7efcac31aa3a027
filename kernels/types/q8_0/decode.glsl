// q8_0 for block loads: see type.glsl for the layout.
#define BLOCK_ELEMENTS 32
#include "../decode.glsl"
BLOCK(2) {
    float16_t d;
    uint16_t qs[16];
};

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    return signed_of_pair(uint(block.qs[i >> 1]), i) * block.d;
}
