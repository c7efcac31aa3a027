// mxfp4 for block loads: blocks of 32 in 17 bytes, e @0, qs[16] @1; low halves first, each an e2m1 number, times 2^(e - 127).
// 17 is odd: all loads are of bytes. The table has the numbers doubled, so the scale is 2^(e - 128).
#define BLOCK_ELEMENTS 32
#define DECODE_TABLE
#include "../decode.glsl"
BLOCK(1) {
    uint8_t e;
    uint8_t qs[16];
};
shared float16_t table[16];

void decode_init() {
    const int numbers[16] = int[](0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
    if (gl_LocalInvocationIndex < 16) {
        table[gl_LocalInvocationIndex] = float16_t(numbers[gl_LocalInvocationIndex]);
    }
}

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    const uint e = uint(block.e);
    const float d = uintBitsToFloat(e < 2 ? 0x00200000u << e : (e - 1) << 23);
    const uint q = (uint(block.qs[i & 15]) >> ((i & 16) >> 2)) & 15;
    return float16_t(float(table[q]) * d);
}
