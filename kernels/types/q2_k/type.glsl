// q2_k: super-blocks of 256 in 84 bytes, scales[16] @0, qs[64] @16, d f16 @80, dmin f16 @82; of each 16 elements
// y = d * (scale & 15) * code - dmin * (scale >> 4). Each half of 128 elements has 32 bytes of qs; its quarter q of 32 has its codes in
// bits 2 q and 2 q + 1. 84 is a multiple of four: loads are of 32 bits, scales 8; codes in the GEMV 16.
#define A_MIN
struct block_q2_k {
    uint8_t scales[16];
    uint qs[16];
    uint dm;
};
layout(binding = 0, std430) readonly buffer Weights { block_q2_k weights[]; };

#define A_STAGED 4
vec2 a_load4(uint piece, out vec4 v) {
    const uint block = piece >> 6;
    const uint shift = (piece >> 3 & 3) * 2;
    v = vec4(unpack8((weights[block].qs[(piece >> 5 & 1) * 8 + (piece & 7)] >> shift) & 0x03030303u));
    const uint scale = uint(weights[block].scales[piece >> 2 & 15]);
    return unpackHalf2x16(weights[block].dm) * vec2(scale & 15, scale >> 4);
}
#include "../fours.glsl"

#ifdef GEMV
layout(binding = 0, std430) readonly buffer WeightsH { uint16_t weights_h[]; };
#define A_PAIRS
vec2 a_super_scale(uint block) { return unpackHalf2x16(weights[block].dm); }

vec2 a_scale(uint block, uint i) {
    const uint scale = uint(weights[block].scales[i]);
    return vec2(scale & 15, scale >> 4 & 15);
}

void a_load_pairs(uint block, uint part, out vec2 v[8]) {
    const uint at = block * 42 + 8 + (part >> 3) * 16 + (part & 7);
    const uint codes = uint(weights_h[at]) | uint(weights_h[at + 8]) << 16;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        const vec4 four = vec4(unpack8((codes >> 2 * i) & 0x03030303u));
        v[i * 2] = four.xy;
        v[i * 2 + 1] = four.zw;
    }
}
#endif
