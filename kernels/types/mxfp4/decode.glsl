// mxfp4 for block loads: blocks of 32 in 17 bytes, e @0, qs[16] @1; low halves first, each an e2m1 number, times 2^(e - 127).
// 17 is odd: all loads are of bytes. The table has the numbers doubled, so the scale is 2^(e - 128).
#define BLOCK_ELEMENTS 32
#include "../decode.glsl"
BLOCK(1) {
    uint8_t e;
    uint8_t qs[16];
};
#include "../e2m1.glsl"
#include "../e8m0.glsl"
#define NUMBERS E2M1_DOUBLED
#include "../table_decode.glsl"

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    const uint e = uint(block.e);
    const uint q = (uint(block.qs[i & 15]) >> ((i & 16) >> 2)) & 15;
#ifdef NUMBERS_BY_BITS
    // e2m1 in the bits of f16 is 2^14 times too small; e beyond f16's largest exponent is infinite all the same.
    const float number = unpackHalf2x16((q & 8) << 12 | (q & 7) << 9).x;
    return float16_t(number * uintBitsToFloat(min(e + 14, 254) << 23));
#else
    const float d = E8M0_HALVED(e);
    return float16_t(float(table[q]) * d);
#endif
}
