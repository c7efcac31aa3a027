// q6_k: super-blocks of 256 in 210 bytes, ql[128] @0, qh[64] @128, scales int8[16] @192, d f16 @208; y = d * scale * (code - 32).
// Each half of 128 elements has 64 bytes of ql, 32 of qh and eight scales. The first two of its four quarters of 32 have their low four
// bits in the low halves of ql, the others in the high ones; quarter q has its upper two in bits 2 q and 2 q + 1 of qh; a scale is for 16.
// 210 is no multiple of four: codes are loaded by 16 bits, scales as bytes.
struct block_q6_k {
    uint16_t ql[64];
    uint16_t qh[32];
    int8_t scales[16];
    float16_t d;
};
layout(binding = 0, std430) readonly buffer Weights { block_q6_k weights[]; };

uint a_ql(uint block, uint at) { return uint(weights[block].ql[at]) | uint(weights[block].ql[at + 1]) << 16; }
uint a_qh(uint block, uint at) { return uint(weights[block].qh[at]) | uint(weights[block].qh[at + 1]) << 16; }

// Four elements of a quarter before scaling.
vec4 a_codes(uint low, uint high, uint quarter) {
    return vec4(unpack8((low >> (quarter >> 1) * 4 & 0x0F0F0F0Fu) | ((high >> quarter * 2) << 4 & 0x30303030u))) - 32.0;
}

#define A_STAGED 2
vec2 a_load2(uint piece, out vec2 v) {
    const uint block = piece >> 7;
    const uint at_half = (piece >> 6) & 1;
    const uint quarter = (piece >> 4) & 3;
    const uint at = piece & 15;
    v = a_codes(uint(weights[block].ql[at_half * 32 + (quarter & 1) * 16 + at]), uint(weights[block].qh[at_half * 16 + at]), quarter).xy;
    return vec2(float(weights[block].d) * float(weights[block].scales[at_half * 8 + quarter * 2 + (piece >> 3 & 1)]), 0.0);
}
#include "../twos.glsl"

#define A_SUPER
#define A_SHARED_SCALES
uint a_at(uint part, uint i) { return (part >> 3) * 128 + i * 32 + (part & 7) * 4; }
float a_super_scale(uint block) { return float(weights[block].d); }
float a_scale(uint block, uint i) { return float(weights[block].scales[i]); }
uint a_scale_of(uint part, uint i) { return (part >> 3) * 8 + i * 2 + (part >> 2 & 1); }

void a_load16(uint block, uint part, out vec4 v[4]) {
    const uint at = (part >> 3) * 32 + (part & 7) * 2;
    const uint low[2] = {a_ql(block, at), a_ql(block, at + 16)};
    const uint high = a_qh(block, (part >> 3) * 16 + (part & 7) * 2);
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        v[i] = a_codes(low[i & 1], high, i);
    }
}
