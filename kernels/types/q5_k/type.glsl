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
layout(binding = 0, std430) readonly buffer Weights { block_q5_k weights[]; };

uint a_first(uint chunk) { return chunk * 8; }
uint a_second(uint chunk) { return chunk * 8 + 4; }

// Four codes of a sub-block: `low` holds their low four bits, `high` the fifth ones of all sub-blocks.
vec4 a_codes(uint low, uint high, uint sub) {
    return vec4(unpack8((low >> (4 * (sub & 1)) & 0x0F0F0F0Fu) | ((high >> sub) << 4 & 0x10101010u)));
}

vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    const uint block = chunk >> 5;
    const uint sub = (chunk >> 2) & 7;
    const uint in_sub = (chunk & 3) * 2;
    const uint at = (sub >> 1) * 8 + in_sub;
    first = a_codes(weights[block].qs[at], weights[block].qh[in_sub], sub);
    second = a_codes(weights[block].qs[at + 1], weights[block].qh[in_sub + 1], sub);
    return unpackHalf2x16(weights[block].dm) * vec2(k_scale(weights[block].scales, sub));
}

#define A_SUPER
uint a_at(uint part, uint i) { return (part >> 3) * 128 + i * 32 + (part & 7) * 4; }

void a_load16(uint block, uint part, out vec4 v[4], out vec4 scale, out vec4 offset) {
    const uint at = (part >> 3) * 16 + (part & 7);
    const uint qs[2] = {weights[block].qs[at], weights[block].qs[at + 8]};
    const uint high = weights[block].qh[part & 7] >> ((part >> 3) * 4);
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        v[i] = a_codes(qs[i >> 1], high, i);
    }
    const vec2 dm = unpackHalf2x16(weights[block].dm);
    const uvec2 scales = k_scales(weights[block].scales, part >= 8);
    scale = dm.x * vec4(unpack8(scales.x));
    offset = dm.y * vec4(unpack8(scales.y));
}
