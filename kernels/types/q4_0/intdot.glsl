// q4_0 against q8_1: blocks of 32 in 18 bytes, d f16 @0, qs[16] @2, low halves first; d * (d8 * sum of q * q8 - 8 * s8).
#define BLOCK_WORDS 4
#include "../d_block.glsl"

#define A_CHUNKS 1
#define A_ITEMS 4
#define A_GIVES 1
#define A_PAD 2
#define A_PLANE(item, i) (item)
void a_stage(uint first, uint last, uint item, out ivec4 q[A_GIVES]) {
    const uint block = min(first + item, last);
    q[0] = ivec4(a_word(block, 0), a_word(block, 1), a_word(block, 2), a_word(block, 3));
}
#include "../halves.glsl"

float a_product(A_SCALE d, ivec4 a0, ivec4 a1, ivec4 b0, ivec4 b1, vec2 ds) {
    return d * (ds.x * float(dot16(a0, b0) + dot16(a1, b1)) - 8.0 * ds.y);
}

// A part is four bytes: the elements of one word of q8_1 and of the one 16 elements on. A span is four blocks.
#define A_ELEMENTS 8
#define A_SPAN 128
struct APart {
    int q;
    float d;
};
struct BPart {
    ivec2 q;
    vec2 ds;
};

APart a_part(uint row, uint span, uint part) {
    const uint block = row + span * 4 + part / 4;
    return APart(a_word(block, part % 4), a_scale(block));
}

BPart b_part(uint n, uint span, uint part) {
    const uvec2 at = b_place(n, span * 4 + part / 4);
    return BPart(ivec2(b_word(at, part % 4), b_word(at, part % 4 + 4)), unpackHalf2x16(b_scales(at)));
}

float part_product(APart a, BPart b) {
    const int sum = dotPacked4x8EXT(a.q & 0x0F0F0F0F, b.q.x) + dotPacked4x8EXT((a.q >> 4) & 0x0F0F0F0F, b.q.y);
    return a.d * (b.ds.x * float(sum) - 2.0 * b.ds.y); // of the block's 8 * s8 each of its four parts takes a quarter
}
