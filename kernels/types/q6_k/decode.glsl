// q6_k for block loads: super-blocks of 256 in 210 bytes, ql[128] @0, qh[64] @128, scales int8[16] @192, d f16 @208.
// 210 is no multiple of four: all loads are of 16 bits. 16 elements share a scale; a byte of ql has elements l and l + 64 of a half,
// a byte of qh l, l + 32, l + 64 and l + 96.
#define BLOCK_ELEMENTS 256
#include "../decode.glsl"
BLOCK(2) {
    uint16_t ql[64];
    uint16_t qh[32];
    int8_t scales[16];
    float16_t d;
};

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    const uint low = (uint(block.ql[((i & 128) >> 2) + ((i & 62) >> 1)]) >> ((i & 64) >> 4)) & 0x0F0Fu;
    const uint high = (uint(block.qh[((i & 128) >> 3) + ((i & 30) >> 1)]) >> ((i & 96) >> 4)) & 0x0303u;
    const float16_t scale = block.d * float16_t(block.scales[i >> 4]);
    return scale * unsigned_of_pair(low | high << 4, i, float16_t(32.0));
}
