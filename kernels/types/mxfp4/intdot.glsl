// mxfp4 against q8_1: blocks of 32 in 17 bytes, e @0, qs[16] @1, low halves first, each an e2m1 number; d * d8 * sum of q * q8 with
// the numbers doubled and d = 2^(e - 128). 17 is odd: all loads are of bytes.
#extension GL_EXT_shader_8bit_storage : require
struct block_mxfp4 {
    uint8_t e;
    uint8_t qs[16];
};
layout(binding = 0, std430) readonly buffer Weights { block_mxfp4 weights[]; };

// Four bytes of qs.
uint a_word(uint block, uint i) {
    return uint(weights[block].qs[i * 4]) | uint(weights[block].qs[i * 4 + 1]) << 8 | uint(weights[block].qs[i * 4 + 2]) << 16
           | uint(weights[block].qs[i * 4 + 3]) << 24;
}

// The low halves of four bytes as doubled e2m1 numbers, int8: 0 1 2 3 4 6 8 12 and their negatives. Up to 4 a code is its number;
// from 4 on the number is the code plus 0, 1, 2 or 5.
int doubled(uint q) {
    const uint code = q & 0x07070707u;
    const uint low = q & 0x03030303u;
    const uint beyond = ((code >> 2) & 0x01010101u) * 7;
    const uint number = code + (beyond & (low + ((low & (low >> 1)) << 1)));
    const uint negative = ((q >> 3) & 0x01010101u) * 255;
    const uint minus = (0x80808080u - number) ^ 0x80808080u; // no borrow passes from byte to byte
    return int((minus & negative) | (number & ~negative));
}

ivec4 doubled(uvec4 q) { return ivec4(doubled(q.x), doubled(q.y), doubled(q.z), doubled(q.w)); }

float e8m0_half(uint e) { return uintBitsToFloat(e < 2 ? 0x00200000u << e : (e - 1) << 23); }

#define A_SCALE float
A_SCALE a_scale(uint block) { return e8m0_half(uint(weights[block].e)); }

#define A_CHUNKS 2
#define A_ITEMS 4
#define A_GIVES 2
#define A_PAD 1
#define A_PLANE(item, i) ((item) * 2 + (i))
void a_stage(uint first, uint last, uint item, out ivec4 q[A_GIVES]) {
    const uint block = min(first + item, last);
    const uvec4 codes = uvec4(a_word(block, 0), a_word(block, 1), a_word(block, 2), a_word(block, 3));
    q[0] = doubled(codes);
    q[1] = doubled(codes >> 4);
}

// A part is four bytes: the elements of one word of q8_1 and of the one 16 elements on.
ivec2 a_pair(uint block, uint i) {
    const uint codes = a_word(block, i);
    return ivec2(doubled(codes), doubled(codes >> 4));
}
ivec2 b_words(uvec2 at, uint i) { return ivec2(b_word(at, i), b_word(at, i + 4)); }
#include "../int8_intdot.glsl"
