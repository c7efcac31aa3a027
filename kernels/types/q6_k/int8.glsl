// q6_k for int8 matrices: the codes less 32; each half of a block has a scale of its own.
#include "intdot.glsl"
#include "../k_int8.glsl"
#define A_TWO_SCALES
vec2 piece_scales(Piece piece, uint block) { return vec2(scale_of(block, 0), scale_of(block, 1)); }
