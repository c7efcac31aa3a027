// q8_0 for int8 matrices: its words as they are, one an invocation.
#include "intdot.glsl"
#define A_LOADERS 8
#define A_AT(item) (item)
#define A_APART 0
struct Piece {
    uint codes;
    float scale;
};

Piece a_fetch(uint block, uint item) { return Piece(uint(a_word(block, item)), a_scale(block)); }
uvec2 a_codes(Piece piece) { return uvec2(piece.codes); }
vec2 piece_scales(Piece piece, uint block) { return vec2(piece.scale, 0.0); }
