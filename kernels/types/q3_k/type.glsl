// q3_k: super-blocks of 256 in 110 bytes, hmask[32] @0, qs[64] @32, scales[12] @96 (../q3_scales.glsl), d f16 @108; of each 16 elements
// y = d * scale * (code - 4). Each half of 128 elements has 32 bytes of qs; its quarter q of 32 has its codes' low two bits in bits 2 q and
// 2 q + 1, and their third bits in bit q of hmask, of the other half bit q + 4. 110 is no multiple of four: loads are of 16 bits, scales 8;
// codes in the GEMV 8.
struct block_q3_k {
    uint16_t hmask[16];
    uint16_t qs[32];
    uint8_t scales[12];
    float16_t d;
};
layout(binding = 0, std430) readonly buffer Weights { block_q3_k weights[]; };
#include "../q3_scales.glsl"

#define A_STAGED 2
vec2 a_load2(uint piece, out vec2 v) {
    const uint block = piece >> 7;
    const uint at_half = piece >> 6 & 1;
    const uint quarter = piece >> 4 & 3;
    const uint at = piece & 15;
    const vec2 low = vec2(unpack8((uint(weights[block].qs[at_half * 16 + at]) >> quarter * 2) & 0x0303u).xy);
    const uint third = (uint(weights[block].hmask[at]) >> at_half * 4 + quarter) & 0x0101u;
    v = low - vec2(unpack8((third ^ 0x0101u) << 2).xy);
    return vec2(float(weights[block].d) * float(scale_of(block, piece >> 3 & 15)), 0.0);
}
#include "../twos.glsl"

#ifdef GEMV
struct block_q3_k_bytes {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    float16_t d;
};
layout(binding = 0, std430) readonly buffer WeightsB { block_q3_k_bytes weights_b[]; };
#define A_PAIRS
float a_super_scale(uint block) { return float(weights[block].d); }
float a_scale(uint block, uint i) { return float(scale_of(block, i)); }

void a_load_pairs(uint block, uint part, out vec2 v[8]) {
    const uint third = ~(uint(weights[block].hmask[part & 7]) | uint(weights[block].hmask[(part & 7) + 8]) << 16);
    const uint at = (part >> 3) * 32 + (part & 7) * 2;
    uint codes = uint(weights_b[block].qs[at]) | uint(weights_b[block].qs[at + 1]) << 8;
    codes |= (uint(weights_b[block].qs[at + 16]) | uint(weights_b[block].qs[at + 17]) << 8) << 16;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        const vec4 low = vec4(unpack8((codes >> 2 * i) & 0x03030303u));
        const vec4 four = low - vec4(unpack8(((third >> (part >> 3) * 4 + i) & 0x01010101u) << 2));
        v[i * 2] = four.xy;
        v[i * 2 + 1] = four.zw;
    }
}
#endif
