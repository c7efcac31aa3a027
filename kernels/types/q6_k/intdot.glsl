// q6_k against q8_1: super-blocks of 256 in 210 bytes, ql[128] @0, qh[64] @128, scales int8[16] @192, d f16 @208; of each 16 elements
// d * scale * d8 * sum of (q - 32) * q8. 210 is no multiple of four: all loads are of 16 bits.
// A byte of ql has elements l and l + 64 of a half of the super-block, a byte of qh l, l + 32, l + 64 and l + 96.
struct block_q6_k {
    uint16_t ql[64];
    uint16_t qh[32];
    uint16_t scales[8];
    float16_t d;
};
layout(binding = 0, std430) readonly buffer Weights { block_q6_k weights[]; };

// Less 32 in each byte: 6-bit numbers carry nothing from byte to byte.
int centred(uint q) { return int((q + 0x60606060u) ^ 0x80808080u); }

// Word i (0 to 7) of the four sub-blocks of a half.
ivec4 a_words(uint block, uint side, uint i) {
    const uint at = side * 32 + i * 2;
    const uint low = uint(weights[block].ql[at]) | uint(weights[block].ql[at + 1]) << 16;
    const uint next = uint(weights[block].ql[at + 16]) | uint(weights[block].ql[at + 17]) << 16;
    const uint high = uint(weights[block].qh[side * 16 + i * 2]) | uint(weights[block].qh[side * 16 + i * 2 + 1]) << 16;
    return ivec4(
        centred((low & 0x0F0F0F0Fu) | ((high & 0x03030303u) << 4)),
        centred((next & 0x0F0F0F0Fu) | ((high & 0x0C0C0C0Cu) << 2)),
        centred(((low >> 4) & 0x0F0F0F0Fu) | (high & 0x30303030u)),
        centred(((next >> 4) & 0x0F0F0F0Fu) | ((high >> 2) & 0x30303030u)));
}

// A sub-block's scales: of its first 16 elements, and of its last.
vec2 scales_of(uint block, uint s) {
    const int scales = int(weights[block].scales[s]);
    return float(weights[block].d) * vec2(bitfieldExtract(scales, 0, 8), bitfieldExtract(scales, 8, 8));
}

#define A_SCALE vec2
A_SCALE a_scale(uint block) { return scales_of(block >> 3, block & 7); }

// An item is 16 elements of each of the four sub-blocks of a half.
#define A_CHUNKS 2
#define A_ITEMS 2
#define A_GIVES 4
#define A_PAD 4
#define A_PLANE(item, i) ((i) * 2 + (item))
void a_stage(uint first, uint last, uint item, out ivec4 q[A_GIVES]) {
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        const ivec4 words = a_words(first >> 3, (first >> 2) & 1, item * 4 + i);
        q[0][i] = words.x;
        q[1][i] = words.y;
        q[2][i] = words.z;
        q[3][i] = words.w;
    }
}
#include "../bytes.glsl"

float a_product(A_SCALE d, ivec4 a0, ivec4 a1, ivec4 b0, ivec4 b1, vec2 ds) {
    return ds.x * (d.x * float(dot16(a0, b0)) + d.y * float(dot16(a1, b1)));
}

// A part is one word of each of the four sub-blocks of a half. A span is a super-block.
#define A_ELEMENTS 16
#define A_SPAN 256
struct APart {
    ivec4 q;
    vec4 d;
};
struct BPart {
    ivec4 q;
    vec4 d;
};

APart a_part(uint row, uint span, uint part) {
    const uint block = row / 8 + span;
    const uint side = part / 8;
    const uint i = part % 8;
    vec4 d;
    [[unroll]] for (uint s = 0; s < 4; ++s) {
        d[s] = scales_of(block, side * 4 + s)[i / 4];
    }
    return APart(a_words(block, side, i), d);
}

BPart b_part(uint n, uint span, uint part) {
    const uvec2 at = b_place(n, span * 8 + part / 8 * 4);
    const uint i = part % 8;
    const uvec4 scales = b_scales4(at);
    const vec4 d = vec4(unpackHalf2x16(scales.x).x, unpackHalf2x16(scales.y).x, unpackHalf2x16(scales.z).x, unpackHalf2x16(scales.w).x);
    return BPart(
        ivec4(b_word(at, i), b_word(at + uvec2(0, 1), i), b_word(at + uvec2(0, 2), i), b_word(at + uvec2(0, 3), i)), d);
}

float part_product(APart a, BPart b) {
    const vec4 sums = vec4(
        dotPacked4x8EXT(a.q.x, b.q.x), dotPacked4x8EXT(a.q.y, b.q.y), dotPacked4x8EXT(a.q.z, b.q.z), dotPacked4x8EXT(a.q.w, b.q.w));
    return dot(a.d, b.d * sums);
}
