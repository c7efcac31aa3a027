// q4_0 and q8_0: blocks of 32, d f16 @0 and the codes @2, BLOCK_WORDS words of four bytes. No block is a multiple of four bytes long: all
// loads are of 16 bits.
struct Block {
    float16_t d;
    uint16_t qs[BLOCK_WORDS * 2];
};
layout(binding = 0, std430) readonly buffer Weights { Block weights[]; };

int a_word(uint block, uint i) { return int(uint(weights[block].qs[i * 2]) | uint(weights[block].qs[i * 2 + 1]) << 16); }

#define A_SCALE float
A_SCALE a_scale(uint block) { return float(weights[block].d); }

#define A_ITEMS BLOCK_WORDS
int a_staged(uint block, uint i) { return a_word(block, i); }
