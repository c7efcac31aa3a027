// q5_1 for int8 matrices: codes without a sign.
#include "block.glsl"

struct Piece {
    uint codes;
    uint fifths;
    uint dm;
};
#include "../five_bits_int8.glsl"
#define A_OFFSET

Piece a_fetch(uint block, uint item) { return Piece(weights[block].qs[item], weights[block].qh, weights[block].dm); }
uvec2 a_codes(Piece piece) { return a_five_bits(piece); }
vec2 piece_scales(Piece piece, uint block) { return unpackHalf2x16(piece.dm); }
