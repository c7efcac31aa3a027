// q4_1 for int8 matrices: codes without a sign; low and high halves of a word are words i and i + 4.
#include "block.glsl"

#define A_LOADERS 4
#define A_AT(item) (item)
#define A_APART 4
#define A_OFFSET
struct Piece {
    uint codes;
    uint dm;
};

Piece a_fetch(uint block, uint item) { return Piece(weights[block].qs[item], weights[block].dm); }
uvec2 a_codes(Piece piece) { return uvec2(piece.codes & 0x0F0F0F0Fu, (piece.codes >> 4) & 0x0F0F0F0Fu); }
vec2 piece_scales(Piece piece, uint block) { return unpackHalf2x16(piece.dm); }
