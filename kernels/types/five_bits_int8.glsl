// q5_0 and q5_1 for int8 matrices: four bits of each code in words, the fifth bits in a word of their own, which every invocation fetches.
// Needs `fifths` of Piece.
#define A_LOADERS 4
#define A_AT(item) (item)
#define A_APART 4

// Four bits, each at the fifth place of a byte: the products of the four bits don't meet there.
uint a_spread(uint bits) { return ((bits & 15) * 0x02040810u) & 0x10101010u; }

// Words i and i + 4 of a block's codes, 0 to 31 in each byte.
uvec2 a_five_bits(Piece piece) {
    const uint own = piece.fifths >> 4 * (gl_LocalInvocationIndex % A_LOADERS);
    return uvec2(piece.codes & 0x0F0F0F0Fu, (piece.codes >> 4) & 0x0F0F0F0Fu) | uvec2(a_spread(own), a_spread(own >> 16));
}
