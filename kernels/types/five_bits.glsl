// q5_0 and q5_1 against q8_1: codes of four bits in four words, the fifth bits in a word of their own. Blocks are staged as they lie; the
// word of fifth bits goes with the scale.
#include "halves_intdot.glsl"

// Four bits, each at the fifth place of a byte: the products of the four bits don't meet there.
uint a_spread(uint bits) { return (bits * 0x02040810u) & 0x10101010u; }

// Words i and i + 4 of a block's codes: of word i of qs, and of the fifth bits.
ivec2 a_five_bits(uint codes, uint fifths, uint i) {
    const uint own = fifths >> 4 * i;
    return a_halves(codes) | ivec2(a_spread(own & 15), a_spread(own >> 16 & 15));
}

#define A_WORDS 4
#define A_SCALE uvec2 // the fifth bits, and the scale

int a_dot(int a[A_WORDS], uint fifths, int b[8]) {
    int sum = 0;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        const ivec2 q = a_five_bits(uint(a[i]), fifths, i);
        sum += dotPacked4x8EXT(q.x, b[i]);
        sum += dotPacked4x8EXT(q.y, b[i + 4]);
    }
    return sum;
}
