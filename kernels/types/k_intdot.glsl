// q4_k and q5_k against q8_1: d * scale * d8 * sum of q * q8 - dmin * minimum * s8 of each of eight sub-blocks of 32.
// Wants BLOCK_UVEC4S and a_sixteen(block, pair, side, q0, q1), the elements 16 * side on of the sub-blocks 2 * pair and 2 * pair + 1.
#define SCALES_IN_PLACE
#include "k_scales.glsl"

#define A_SCALE vec2
A_SCALE a_scale(uint block) { return scale_of(weights[(block >> 3) * BLOCK_UVEC4S], block & 7); }

float a_product(A_SCALE dm, ivec4 a0, ivec4 a1, ivec4 b0, ivec4 b1, vec2 ds) {
    return dm.x * (ds.x * float(dot16(a0, b0) + dot16(a1, b1))) - dm.y * ds.y;
}

// A part is 16 bytes of qs: 16 elements of one sub-block and the same of the next. A span is a super-block.
#define A_ELEMENTS 32
#define A_SPAN 256
struct APart {
    ivec4 q0;
    ivec4 q1;
    vec4 dm;
};
struct BPart {
    ivec4 q0;
    ivec4 q1;
    vec4 ds;
};

APart a_part(uint row, uint span, uint part) {
    const uint block = row / 8 + span;
    const uint pair = part / 2;
    const uvec4 header = weights[block * BLOCK_UVEC4S];
    ivec4 q0, q1;
    a_sixteen(block, pair, part % 2, q0, q1);
    return APart(q0, q1, vec4(scale_of(header, pair * 2), scale_of(header, pair * 2 + 1)));
}

BPart b_part(uint n, uint span, uint part) {
    const uvec2 at = b_place(n, span * 8 + part / 2 * 2);
    const uvec2 scales = b_scales2(at);
    return BPart(
        b_half(at, part % 2), b_half(at + uvec2(0, 1), part % 2), vec4(unpackHalf2x16(scales.x), unpackHalf2x16(scales.y)));
}

float part_product(APart a, BPart b) {
    const vec2 sums = vec2(dot16(a.q0, b.q0), dot16(a.q1, b.q1));
    // A sub-block has two parts, each of which takes half of its offset.
    return dot(a.dm.xz, b.ds.xz * sums) - 0.5 * dot(a.dm.yw, b.ds.yw);
}
