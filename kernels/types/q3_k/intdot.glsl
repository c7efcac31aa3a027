// q3_k against q8_1: super-blocks of 256 in 110 bytes, hmask[32] @0, qs[64] @32, scales[12] @96 (../q3_scales.glsl), d f16 @108; of each
// 16 elements d * scale * d8 * sum of (q - 4) * q8. 110 is no multiple of four: all loads are of 16 bits; of the GEMV's scales 8.
// Four sub-blocks share each 32 bytes of qs: sub-block s has its codes in bits 2 s and 2 s + 1, and their third bits in its own bit of
// hmask.
#include "../two_scales.glsl"
struct block_q3_k {
    uint16_t hmask[16];
    uint16_t qs[32];
    uint8_t scales[12];
    float16_t d;
};
layout(binding = 0, std430) readonly buffer Weights { block_q3_k weights[]; };

// Word i of a sub-block's codes, 0 to 7 in each byte.
uint a_codes(uint block, uint i) {
    const uint super = block >> 3;
    const uint sub = block & 7;
    const uint at = (sub >> 2) * 16 + i * 2;
    const uint low = uint(weights[super].qs[at]) | uint(weights[super].qs[at + 1]) << 16;
    const uint third = uint(weights[super].hmask[i * 2]) | uint(weights[super].hmask[i * 2 + 1]) << 16;
    return ((low >> (sub & 3) * 2) & 0x03030303u) | ((third >> sub) & 0x01010101u) << 2;
}

#ifdef GEMM
// The sub-block's words are staged in pairs: the even one in the low halves, the odd one in the high ones.
#define A_WORDS 4
#define A_ITEMS 4
int a_staged(uint block, uint i) { return int(a_codes(block, i * 2) | a_codes(block, i * 2 + 1) << 4); }

struct ScaleHalves {
    uint16_t codes[48];
    uint16_t scales[6];
    float16_t d;
};
layout(binding = 0, std430) readonly buffer WeightsH { ScaleHalves weights_h[]; };

A_SCALE a_scale(uint block) {
    const uint super = block >> 3;
    const uint sub = block & 7;
    const uint low = uint(weights_h[super].scales[sub & 3]) >> (sub >> 2) * 4 & 0x0F0Fu;
    const uint high = uint(weights_h[super].scales[4 + (sub & 1)]) >> (sub >> 1) * 2 & 0x0303u;
    return packed(float(weights_h[super].d) * (vec2(unpack8(low | high << 4).xy) - 32.0));
}

// Four is taken away here, byte by byte, so that the staged words have room.
int a_dot(int a[A_WORDS], int b[8], uint first, uint end) {
    int sum = 0;
    [[unroll]] for (uint i = first; i < end; ++i) {
        const i8vec4 codes = unpack8((a[i / 2] >> i % 2 * 4) & 0x0F0F0F0F);
        sum += dotPacked4x8EXT(pack32(codes - int8_t(4)), b[i]);
    }
    return sum;
}

float a_product(int a[A_WORDS], A_SCALE scale, int b[8], vec2 ds) {
    const vec2 d = unpackHalf2x16(scale);
    return ds.x * (d.x * float(a_dot(a, b, 0, 4)) + d.y * float(a_dot(a, b, 4, 8)));
}
#else
#include "../q3_scales.glsl"
int a_word(uint block, uint i) { return int((a_codes(block, i) + 0x7C7C7C7Cu) ^ 0x80808080u); } // less 4 in each byte

#define A_ELEMENTS 16
float part_product(uint block, uint part, int sum, vec2 ds) {
    const float d = float(weights[block >> 3].d) * float(scale_of(block >> 3, (block & 7) * 2 + part));
    return ds.x * d * float(sum);
}
#endif
