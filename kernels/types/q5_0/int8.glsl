// q5_0 for int8 matrices: the codes less 16.
#include "block.glsl"

struct Piece {
    uint codes;
    uint fifths;
    float scale;
};
#include "../five_bits_int8.glsl"

Piece a_fetch(uint block, uint item) {
    const uint codes = uint(weights[block].qs[item * 2]) | uint(weights[block].qs[item * 2 + 1]) << 16;
    return Piece(codes, uint(weights[block].qh[0]) | uint(weights[block].qh[1]) << 16, float(weights[block].d));
}
uvec2 a_codes(Piece piece) { return ((a_five_bits(piece) | 0x80808080u) - 0x10101010u) ^ 0x80808080u; }
vec2 piece_scales(Piece piece, uint block) { return vec2(piece.scale, 0.0); }
