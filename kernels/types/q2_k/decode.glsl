// q2_k for block loads: see type.glsl for the layout. Codes are loaded by 16 bits, scales by bytes.
#define BLOCK_ELEMENTS 256
#include "../decode.glsl"
BLOCK(4) {
    uint8_t scales[16];
    uint16_t qs[32];
    f16vec2 dm;
};

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    const uint pair = (uint(block.qs[((i & 128) >> 3) + ((i & 30) >> 1)]) >> ((i & 96) >> 4)) & 0x0303u;
    const uint scale = uint(block.scales[(i & 0xF0) >> 4]);
    return block.dm.x * float16_t(scale & 15) * unsigned_of_pair(pair, i, float16_t(0.0)) - block.dm.y * float16_t(scale >> 4);
}
