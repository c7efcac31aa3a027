// q4_1: blocks of 32 in 20 bytes, d f16 @0, m f16 @2, qs[16] @4; y[j] = d * (qs[j] & 15) + m, y[j + 16] = d * (qs[j] >> 4) + m.
// 20 is a multiple of four: loads are of 32 bits; of codes in the GEMV 16.
#include "block.glsl"
#ifdef GEMV
layout(binding = 0, std430) readonly buffer WeightsH { uint16_t weights_h[]; };
#endif
#include "../halves.glsl"

vec2 a_dm(uint block) { return unpackHalf2x16(weights[block].dm); }

void a_codes8(uint chunk, out vec4 first, out vec4 second) {
#ifdef GEMV
    const uint at = (chunk >> 2) * 10 + 2 + (chunk & 3) * 2;
    const uint bits = uint(weights_h[at]) | uint(weights_h[at + 1]) << 16;
#else
    const uint bits = weights[chunk >> 2].qs[chunk & 3];
#endif
    first = vec4(unpack8(bits & 0x0F0F0F0Fu));
    second = vec4(unpack8((bits >> 4) & 0x0F0F0F0Fu));
}
#include "../offset.glsl"
