// q8_0: blocks of 32 in 34 bytes, d f16 @0, qs int8[32] @2; y[j] = d * qs[j].
// 34 is no multiple of four: all loads are of 16 bits.
struct block_q8_0 {
    float16_t d;
    uint16_t qs[16];
};
layout(binding = 0, std430) readonly buffer Weights { block_q8_0 weights[]; };

#define A_STAGED 4
vec2 a_load4(uint piece, out vec4 v) {
    const uint block = piece >> 3;
    const uint at = (piece & 7) * 2;
    v = vec4(unpack8(int(uint(weights[block].qs[at]) | uint(weights[block].qs[at + 1]) << 16)));
    return vec2(float(weights[block].d), 0.0);
}
#include "../fours.glsl"
