// q8_1 activations, blocks of 32 in groups of four: 144 bytes, f16 (d, d * sum of q) of each block @0, int8 q[4][32] @16.
// Blocks of all rows are numbered through: row n's block i is block n * K / 32 + i.
// Groups are structures, as in llama.cpp: NVIDIA 580.159.04 addresses a plain array of words with 64 bits and these with 32.
struct Group {
    uint scales[4];
    int words[32];
};
struct GroupOfHalves {
    uint scales[4];
    ivec4 halves[8];
};
layout(binding = 1, std430) readonly buffer Activations { Group activations[]; };
layout(binding = 1, std430) readonly buffer ActivationsH { GroupOfHalves activations_h[]; };

// A block's d and d * sum of q as they lie; its words of four q, 0 to 7; and halves of four words, 0 and 1.
uint b_scales(uint block) { return activations[block / 4].scales[block % 4]; }
int b_word(uint block, uint i) { return activations[block / 4].words[block % 4 * 8 + i]; }
ivec4 b_half(uint block, uint i) { return activations_h[block / 4].halves[block % 4 * 2 + i]; }
