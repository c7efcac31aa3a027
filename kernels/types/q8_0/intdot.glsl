// q8_0 against q8_1: blocks of 32 in 34 bytes, d f16 @0, qs int8[32] @2.
#define BLOCK_WORDS 8
#include "../d_block.glsl"

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

// A part is eight bytes.
ivec2 a_pair(uint block, uint i) { return ivec2(a_word(block, i * 2), a_word(block, i * 2 + 1)); }
ivec2 b_words(uvec2 at, uint i) { return b_pair(at, i); }
#include "../int8_intdot.glsl"
