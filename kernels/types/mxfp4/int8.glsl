// mxfp4 for int8 matrices: the numbers doubled, looked up when they are staged; low and high halves are words i and i + 4.
#include "intdot.glsl"
#define A_LOADERS 4
#define A_AT(item) (item)
#define A_APART 4
struct Piece {
    uint codes;
    float scale;
};

Piece a_fetch(uint block, uint item) {
    const uint at = item * 4;
    const u8vec4 bytes = u8vec4(weights[block].qs[at], weights[block].qs[at + 1], weights[block].qs[at + 2], weights[block].qs[at + 3]);
    return Piece(pack32(bytes), a_scale(block));
}
uvec2 a_codes(Piece piece) { return uvec2(a_looked_up_halves(piece.codes)); }
vec2 piece_scales(Piece piece, uint block) { return vec2(piece.scale, 0.0); }
