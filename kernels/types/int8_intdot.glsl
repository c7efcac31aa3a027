// q8_0 and mxfp4 against q8_1: d * d8 * sum of q * q8 of blocks of 32.
// Wants A_SCALE and a_scale; a_pair(block, i), part i (0 to 3) of a block as int8; and b_words(at, i), the same elements of q8_1.
#include "bytes.glsl"

float a_product(A_SCALE d, ivec4 a0, ivec4 a1, ivec4 b0, ivec4 b1, vec2 ds) {
    return d * (ds.x * float(dot16(a0, b0) + dot16(a1, b1)));
}

// A part is eight elements. A span is four blocks.
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
    return APart(a_pair(block, part % 4), a_scale(block));
}

BPart b_part(uint n, uint span, uint part) {
    const uvec2 at = b_place(n, span * 4 + part / 4);
    return BPart(b_words(at, part % 4), unpackHalf2x16(b_scales(at)).x);
}

float part_product(APart a, BPart b) {
    return a.d * (b.d * float(dotPacked4x8EXT(a.q.x, b.q.x) + dotPacked4x8EXT(a.q.y, b.q.y)));
}
