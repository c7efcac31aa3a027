// q6_k against q8_1: super-blocks of 256 in 210 bytes, ql[128] @0, qh[64] @128, scales int8[16] @192, d f16 @208; of each 16 elements
// d * scale * d8 * sum of (q - 32) * q8. 210 is no multiple of four: all loads are of 16 bits.
// A half of a super-block has four sub-blocks: the first two are in the low halves of its 64 bytes of ql, the others in the high ones;
// sub-block s has its upper two bits in bits 2 s and 2 s + 1 of the half's 32 bytes of qh.
#include "../two_scales.glsl"
struct block_q6_k {
    uint16_t ql[64];
    uint16_t qh[32];
    uint16_t scales[8];
    float16_t d;
};
layout(binding = 0, std430) readonly buffer Weights { block_q6_k weights[]; };

int a_word(uint block, uint i) {
    const uint super = block >> 3;
    const uint s = block & 3;
    const uint at = (block >> 2 & 1) * 32 + (s & 1) * 16 + i * 2;
    const uint at_high = (block >> 2 & 1) * 16 + i * 2;
    const uint low = uint(weights[super].ql[at]) | uint(weights[super].ql[at + 1]) << 16;
    const uint high = uint(weights[super].qh[at_high]) | uint(weights[super].qh[at_high + 1]) << 16;
    const uint codes = ((low >> (s >> 1) * 4) & 0x0F0F0F0Fu) | (((high >> s * 2) & 0x03030303u) << 4);
    return int((codes + 0x60606060u) ^ 0x80808080u); // less 32 in each byte: 6-bit numbers carry nothing from byte to byte
}

// The scale of elements 0 to 15 of a sub-block, or 16 to 31.
float scale_of(uint block, uint side) {
    return float(weights[block >> 3].d) * float(bitfieldExtract(int(weights[block >> 3].scales[block & 7]), int(side * 8), 8));
}

A_SCALE a_scale(uint block) { return packed(vec2(scale_of(block, 0), scale_of(block, 1))); }

#define A_ITEMS 8
int a_staged(uint block, uint i) { return a_word(block, i); }
#include "../bytes.glsl"

#ifndef INT8_MATRIX
float a_product(int a[8], A_SCALE scale, int b[8], vec2 ds) {
    const vec2 d = unpackHalf2x16(scale);
    return ds.x * (d.x * float(a_dot(a, b, 0, 4)) + d.y * float(a_dot(a, b, 4, 8)));
}
#endif

#define A_ELEMENTS 16
float part_product(uint block, uint part, int sum, vec2 ds) { return ds.x * scale_of(block, part) * float(sum); }
