// iq4_nl for int8 matrices: codes looked up when they are staged; low and high halves of four bytes are words i and i + 4.
struct block_iq4_nl {
    float16_t d;
    uint16_t qs[8];
};
layout(binding = 0, std430) readonly buffer Weights { block_iq4_nl weights[]; };

#include "../iq4_values.glsl"
const int a_values[16] = {IQ4_VALUES};
#include "../table_intdot.glsl"
#define A_LOADERS 4
#define A_AT(item) (item)
#define A_APART 4
struct Piece {
    uint codes;
    float scale;
};

Piece a_fetch(uint block, uint item) {
    const uint codes = uint(weights[block].qs[item * 2]) | uint(weights[block].qs[item * 2 + 1]) << 16;
    return Piece(codes, float(weights[block].d));
}
uvec2 a_codes(Piece piece) { return uvec2(a_looked_up_halves(piece.codes)); }
vec2 piece_scales(Piece piece, uint block) { return vec2(piece.scale, 0.0); }
