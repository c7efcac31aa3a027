// q8_1 activations, blocks of 32 in groups of four: 144 bytes, f16 (d, d * sum of q) of each block @0, int8 q[4][32] @16.
// Blocks of all rows are numbered through: row n's block i is block n * K / 32 + i.
layout(binding = 1, std430) readonly buffer ActivationsV { ivec4 activations_v[]; };
layout(binding = 1, std430) readonly buffer ActivationsS { int activations_s[]; };

// A block's d and d * sum of q as they lie; its words of four q, 0 to 7; and halves of four words, 0 and 1.
uint b_scales(uint block) { return uint(activations_s[block / 4 * 36 + block % 4]); }
int b_word(uint block, uint i) { return activations_s[block / 4 * 36 + 4 + block % 4 * 8 + i]; }
ivec4 b_half(uint block, uint i) { return activations_v[block / 4 * 9 + 1 + block % 4 * 2 + i]; }
