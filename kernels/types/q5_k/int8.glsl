// q5_k for int8 matrices: codes without a sign, scale and offset in f32.
#include "intdot.glsl"
#include "../k_int8.glsl"
#define A_OFFSET
vec2 piece_scales(Piece piece, uint block) { return scale_of(block) * vec2(1.0, -1.0); }
