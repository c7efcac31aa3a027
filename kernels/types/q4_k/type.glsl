// q4_k: super-blocks of 256 in 144 bytes, d f16 @0, dmin f16 @2, scales[12] @4 (../six_bits.glsl), qs[128] @16.
// Sub-block s of 32: y[l] = d * scale(s) * code - dmin * min(s); the codes of sub-blocks 2 g and 2 g + 1 are the low and the high
// halves of the bytes 32 g to 32 g + 31. 144 is a multiple of four: loads are of 32 bits.
#include "../six_bits.glsl"
#define A_MIN
struct block_q4_k {
    uint dm;
    uint scales[3];
    uint qs[32];
};
layout(binding = 0, std430) readonly buffer Weights { block_q4_k weights[]; };

#define A_STAGED 4
vec2 a_load4(uint piece, out vec4 v) {
    const uint block = piece >> 6;
    const uint sub = (piece >> 3) & 7;
    v = vec4(unpack8((weights[block].qs[(sub >> 1) * 8 + (piece & 7)] >> 4 * (sub & 1)) & 0x0F0F0F0Fu));
    return unpackHalf2x16(weights[block].dm) * vec2(k_scale(weights[block].scales, sub));
}
#include "../fours.glsl"

#define A_SUPER
uint a_at(uint part, uint i) { return (part >> 3) * 128 + i * 32 + (part & 7) * 4; }

void a_load16(uint block, uint part, out vec4 v[4], out vec4 scale, out vec4 offset) {
    const uint at = (part >> 3) * 16 + (part & 7);
    const uint low = weights[block].qs[at];
    const uint high = weights[block].qs[at + 8];
    v[0] = vec4(unpack8(low & 0x0F0F0F0Fu));
    v[1] = vec4(unpack8((low >> 4) & 0x0F0F0F0Fu));
    v[2] = vec4(unpack8(high & 0x0F0F0F0Fu));
    v[3] = vec4(unpack8((high >> 4) & 0x0F0F0F0Fu));
    const vec2 dm = unpackHalf2x16(weights[block].dm);
    const uvec2 scales = k_scales(weights[block].scales, part >= 8);
    scale = dm.x * vec4(unpack8(scales.x));
    offset = dm.y * vec4(unpack8(scales.y));
}
