#version 450
#include "../types/extensions.glsl"
#extension GL_EXT_integer_dot_product : require
#ifdef REDUCE_SUBGROUP
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif

// Constants, output and, but for B's stride, push constants as in gemv.comp.
layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint BLOCK_SIZE = 32;
layout(constant_id = 1) const uint NUM_ROWS = 1;
layout(constant_id = 2) const uint NUM_COLS = 1;
layout(constant_id = 3) const uint WARP = 32;
layout(constant_id = 4) const uint UNROLL = 4; // four or one
layout(binding = 2, std430) writeonly buffer Output { float result[]; };
layout(push_constant) uniform Problem { uint M; uint N; uint K; } p;
#include "../types/q8_1.glsl"
#include "intdot.glsl"

#include "rows.glsl"

#define PARTS_OF_BLOCK (32 / A_ELEMENTS)
#define PART_WORDS (A_ELEMENTS / 4)

// Word i of a part, as one of its block's eight words: neighbours, or, where one load gives two of A, those and the ones four behind.
uint word_of(uint part, uint i) {
#ifdef A_PAIR
    return part * (PART_WORDS / 2) + i / 2 + i % 2 * 4;
#else
    return part * PART_WORDS + i;
#endif
}

// A part of a block of each row and column; `block` of the first row's. BLOCK_SIZE is a multiple of four.
void accumulate(inout SUMS sums, uint m0, uint rows, uint block) {
    const uint part = gl_LocalInvocationIndex % PARTS_OF_BLOCK;
    const uint row_blocks = p.K / 32;
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        const uint b_block = n * row_blocks + block;
        const vec2 ds = unpackHalf2x16(b_scales(b_block));
        int b[PART_WORDS];
        [[unroll]] for (uint i = 0; i < PART_WORDS; ++i) {
            b[i] = b_word(b_block, word_of(part, i));
        }
        [[unroll]] for (uint r = 0; r < rows; ++r) {
            const uint a_block = (m0 + r) * row_blocks + block;
#ifdef A_PART
            sums[n][r] += part_of_row(a_block, part, b, ds);
#else
            int sum = 0;
#ifdef A_PAIR
            [[unroll]] for (uint i = 0; i < PART_WORDS; i += 2) {
                const ivec2 a = a_pair(a_block, word_of(part, i));
                sum += dotPacked4x8EXT(a.x, b[i]);
                sum += dotPacked4x8EXT(a.y, b[i + 1]);
            }
#else
            [[unroll]] for (uint i = 0; i < PART_WORDS; ++i) {
                sum += dotPacked4x8EXT(a_word(a_block, word_of(part, i)), b[i]);
            }
#endif
            sums[n][r] += part_product(a_block, part, sum, ds);
#endif
        }
    }
}

void add_all(inout SUMS sums, uint m0, uint rows) {
    const uint stride = BLOCK_SIZE / PARTS_OF_BLOCK;
    const uint first = gl_LocalInvocationIndex / PARTS_OF_BLOCK;
    uint left = p.K / 32 / stride + uint(first < p.K / 32 % stride);
    uint block = first;
    while (left >= UNROLL) {
        [[unroll]] for (uint j = 0; j < UNROLL; ++j, block += stride) {
            accumulate(sums, m0, rows, block);
        }
        left -= UNROLL;
    }
    if (UNROLL > 1 && left >= 2) {
        [[unroll]] for (uint j = 0; j < 2; ++j, block += stride) {
            accumulate(sums, m0, rows, block);
        }
        left -= 2;
    }
    if (UNROLL > 1 && left > 0) {
        accumulate(sums, m0, rows, block);
    }
}

void main() {
#ifdef A_TABLE
    a_init();
#endif
    all_rows();
}
