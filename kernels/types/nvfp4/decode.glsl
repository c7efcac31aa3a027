// nvfp4 for block loads: see type.glsl for the layout. All loads are of bytes; numbers and scales are looked up.
#define BLOCK_ELEMENTS 64
#define DECODE_TABLE
#include "../decode.glsl"
#include "../e2m1.glsl"
#include "../ue4m3.glsl"
BLOCK(4) {
    uint8_t d[4];
    uint8_t qs[32];
};
shared int8_t table[16];
shared float table_of_scales[128];

void decode_init() {
    const int numbers[16] = int[](E2M1_DOUBLED);
    if (gl_LocalInvocationIndex < 16) {
        table[gl_LocalInvocationIndex] = int8_t(numbers[gl_LocalInvocationIndex]);
    }
    for (uint i = gl_LocalInvocationIndex; i < 128; i += BLOCK_SIZE) {
        table_of_scales[i] = a_scale_value(i);
    }
}

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) {
    const uint i = at[1];
    const float d = table_of_scales[uint(block.d[(i & 0x30) >> 4])];
    const uint q = (uint(block.qs[((i & 0x30) >> 1) + (i & 7)]) >> ((i & 8) >> 1)) & 15;
    return float16_t(float(table[q]) * d * 0.5);
}
