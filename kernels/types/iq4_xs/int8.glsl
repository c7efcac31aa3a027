// iq4_xs for int8 matrices: four bytes of codes an invocation, looked up when they are staged; low and high halves are words i and i + 4.
#include "intdot.glsl"
#define A_LOADERS 4
#define A_AT(item) (item)
#define A_APART 4
#define A_PANEL_BYTES(elements) ((elements) / 2 + (elements) / 32)
struct Piece {
    uint codes;
    float scale;
};

Piece a_fetch(uint block, uint item) {
    return Piece(weights[block >> 3].qs[(block & 7) * 4 + item], item == 0 ? a_scale(block) : 0.0);
}
uvec2 a_codes(Piece piece) { return uvec2(a_looked_up_halves(piece.codes)); }
vec2 piece_scales(Piece piece, uint block) { return vec2(piece.scale, 0.0); }
