// q8_1 activations, blocks of 32 in groups of four: 144 bytes, f16 (d, d * sum of q) of each block @0, int8 q[4][32] @16.
// Blocks of all rows are numbered through: row n's block i is block n * K / 32 + i. Wants p and ALIGNED (rows are whole groups).
layout(binding = 1, std430) readonly buffer ActivationsV { ivec4 activations_v[]; };
layout(binding = 1, std430) readonly buffer ActivationsP { ivec2 activations_p[]; };
layout(binding = 1, std430) readonly buffer ActivationsS { int activations_s[]; };

// Of row n's block i: where its group begins, in 16 bytes, and its place in the group.
uvec2 b_place(uint n, uint i) {
    if (ALIGNED) {
        return uvec2(n * (p.K / 128 * 9) + i / 4 * 9, i % 4);
    }
    const uint block = n * (p.K / 32) + i;
    return uvec2(block / 4 * 9, block % 4);
}

// A block's d and d * sum of q as they lie; its words of four q, 0 to 7; pairs of words, 0 to 3; and halves of four, 0 and 1.
uint b_scales(uvec2 at) { return uint(activations_s[at.x * 4 + at.y]); }
int b_word(uvec2 at, uint i) { return activations_s[at.x * 4 + 4 + at.y * 8 + i]; }
ivec2 b_pair(uvec2 at, uint i) { return activations_p[at.x * 2 + 2 + at.y * 4 + i]; }
ivec4 b_half(uvec2 at, uint i) { return activations_v[at.x + 1 + at.y * 2 + i]; }

// The scales of two blocks from an even place on, and of a group's four.
uvec2 b_scales2(uvec2 at) { return uvec2(activations_p[at.x * 2 + at.y / 2]); }
uvec4 b_scales4(uvec2 at) { return uvec4(activations_v[at.x]); }

// Sum of 16 products of 8-bit integers.
int dot16(ivec4 a, ivec4 b) {
    return dotPacked4x8EXT(a.x, b.x) + dotPacked4x8EXT(a.y, b.y) + dotPacked4x8EXT(a.z, b.z) + dotPacked4x8EXT(a.w, b.w);
}
