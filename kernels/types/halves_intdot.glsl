// Types whose blocks are staged as they lie, four words with a code in each half of a byte: the low halves are the block's first 16 elements.
ivec2 a_halves(uint codes) { return ivec2(codes & 0x0F0F0F0Fu, (codes >> 4) & 0x0F0F0F0Fu); }
#define A_ITEMS 4
#define A_ELEMENTS 8
#define A_PAIR
