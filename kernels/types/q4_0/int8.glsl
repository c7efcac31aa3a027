// q4_0 for int8 matrices: the codes less 8. An invocation takes four bytes, whose low and high halves are words i and i + 4.
#include "intdot.glsl"
#define A_LOADERS 4
#define A_AT(item) (item)
#define A_APART 4
struct Piece {
    uint codes;
    float scale;
};

Piece a_fetch(uint block, uint item) { return Piece(uint(a_word(block, item)), a_scale(block)); }

uint less_8(uint codes) { return ((codes | 0x80808080u) - 0x08080808u) ^ 0x80808080u; }
uvec2 a_codes(Piece piece) { return uvec2(less_8(piece.codes & 0x0F0F0F0Fu), less_8((piece.codes >> 4) & 0x0F0F0F0Fu)); }
vec2 piece_scales(Piece piece, uint block) { return vec2(piece.scale, 0.0); }
