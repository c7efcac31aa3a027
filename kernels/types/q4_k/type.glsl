// q4_k: super-blocks of 256 in 144 bytes, d f16 @0, dmin f16 @2, scales[12] @4 (../six_bits.glsl), qs[128] @16.
// Sub-block s of 32: y[l] = d * scale(s) * code - dmin * min(s); the codes of sub-blocks 2 g and 2 g + 1 are the low and the high
// halves of the bytes 32 g to 32 g + 31. 144 is a multiple of four: loads are of 32 bits. A chunk is half of eight bytes of qs.
#include "../six_bits.glsl"
#define A_MIN
struct block_q4_k {
    uint dm;
    uint scales[3];
    uint qs[32];
};
layout(binding = 0, std430) readonly buffer Weights { block_q4_k weights[]; };

uint a_first(uint chunk) { return chunk * 8; }
uint a_second(uint chunk) { return chunk * 8 + 4; }

vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    const uint block = chunk >> 5;
    const uint sub = (chunk >> 2) & 7;
    const uint at = (sub >> 1) * 8 + (chunk & 3) * 2;
    const uint shift = 4 * (sub & 1);
    first = vec4(unpack8((weights[block].qs[at] >> shift) & 0x0F0F0F0Fu));
    second = vec4(unpack8((weights[block].qs[at + 1] >> shift) & 0x0F0F0F0Fu));
    return unpackHalf2x16(weights[block].dm) * vec2(k_scale(weights[block].scales, sub));
}

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
