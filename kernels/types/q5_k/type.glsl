// q5_k: super-blocks of 256 in 176 bytes, d f16 @0, dmin f16 @2, scales[12] @4 (../six_bits.glsl), qh[32] @16, qs[128] @48.
// As q4_k, with a fifth bit: sub-block s has it in bit s of the byte l of qh. Loads are of 32 bits.
#include "../six_bits.glsl"
#define A_MIN
struct block_q5_k {
    uint dm;
    uint scales[3];
    uint qh[8];
    uint qs[32];
};
layout(binding = 0, std430) readonly buffer WeightsH { uint16_t weights_h[]; };
layout(binding = 0, std430) readonly buffer Weights { block_q5_k weights[]; };

// Four codes of a sub-block: `low` holds their low four bits, `high` the fifth ones of all sub-blocks.
vec4 a_codes(uint low, uint high, uint sub) {
    return vec4(unpack8((low >> (4 * (sub & 1)) & 0x0F0F0F0Fu) | ((high >> sub) << 4 & 0x10101010u)));
}

#define A_STAGED 4
vec2 a_load4(uint piece, out vec4 v) {
    const uint block = piece >> 6;
    const uint sub = (piece >> 3) & 7;
    v = a_codes(weights[block].qs[(sub >> 1) * 8 + (piece & 7)], weights[block].qh[piece & 7], sub);
    return unpackHalf2x16(weights[block].dm) * vec2(k_scale(weights[block].scales, sub));
}
#include "../fours.glsl"

#define A_SUPER
// Two bytes and the two 16 after them, in 16-bit loads.
uint a_two_twos(uint at) { return uint(weights_h[at]) | uint(weights_h[at + 8]) << 16; }
#define A_APART16
uint a_at(uint part, uint i) { return (part >> 3) * 128 + i * 32 + (part & 7) * 2; }

void a_load16(uint block, uint part, out vec4 v[4], out vec4 scale, out vec4 offset) {
    const uint at = (part >> 3) * 32 + (part & 7);
    const uint qs[2] = {a_two_twos(block * 88 + 24 + at), a_two_twos(block * 88 + 40 + at)};
    const uint high = a_two_twos(block * 88 + 8 + (part & 7)) >> ((part >> 3) * 4);
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        v[i] = a_codes(qs[i >> 1], high, i);
    }
    const vec2 dm = unpackHalf2x16(weights[block].dm);
    const uvec2 scales = k_scales(weights[block].scales, part >= 8);
    scale = dm.x * vec4(unpack8(scales.x));
    offset = dm.y * vec4(unpack8(scales.y));
}
