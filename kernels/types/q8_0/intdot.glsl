// q8_0 against q8_1: blocks of 32 in 34 bytes, d f16 @0, qs int8[32] @2; d * d8 * sum of q * q8.
// 34 is no multiple of four: all loads are of 16 bits.
struct block_q8_0 {
    float16_t d;
    uint16_t qs[16];
};
layout(binding = 0, std430) readonly buffer Weights { block_q8_0 weights[]; };

int a_word(uint block, uint i) { return int(uint(weights[block].qs[i * 2]) | uint(weights[block].qs[i * 2 + 1]) << 16); }

#define A_SCALE float
A_SCALE a_scale(uint block) { return float(weights[block].d); }

#define A_CHUNKS 2
#define A_ITEMS 8
#define A_GIVES 1
#define A_PAD 1
#define A_PLANE(item, i) (item)
void a_stage(uint first, uint last, uint item, out ivec4 q[A_GIVES]) {
    const uint block = min(first + item / 2, last);
    const uint i = (item & 1) * 4;
    q[0] = ivec4(a_word(block, i), a_word(block, i + 1), a_word(block, i + 2), a_word(block, i + 3));
}
#include "../bytes.glsl"

float a_product(A_SCALE d, ivec4 a0, ivec4 a1, ivec4 b0, ivec4 b1, vec2 ds) {
    return d * (ds.x * float(dot16(a0, b0) + dot16(a1, b1)));
}

// A part is eight bytes, a span four blocks.
#define A_ELEMENTS 8
#define A_SPAN 128
struct APart {
    ivec2 q;
    float d;
};
struct BPart {
    ivec2 q;
    float d;
};

APart a_part(uint row, uint span, uint part) {
    const uint block = row + span * 4 + part / 4;
    const uint i = part % 4 * 2;
    return APart(ivec2(a_word(block, i), a_word(block, i + 1)), float(weights[block].d));
}

BPart b_part(uint n, uint span, uint part) {
    const uvec2 at = b_place(n, span * 4 + part / 4);
    return BPart(b_pair(at, part % 4), unpackHalf2x16(b_scales(at)).x);
}

float part_product(APart a, BPart b) {
    return a.d * (b.d * float(dotPacked4x8EXT(a.q.x, b.q.x) + dotPacked4x8EXT(a.q.y, b.q.y)));
}
