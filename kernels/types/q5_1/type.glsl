// q5_1: blocks of 32 in 24 bytes, d f16 @0, m f16 @2, qh[4] @4, qs[16] @8; y[j] = d * (qs[j] & 15 | fifth(j)) + m, y[j + 16] the same of
// qs[j] >> 4 and fifth(j + 16), which is 16 where bit j of qh is set. 24 is a multiple of four: loads are of 32 bits; of codes in the
// GEMV 16.
#include "block.glsl"
#ifdef GEMV
layout(binding = 0, std430) readonly buffer WeightsH { uint16_t weights_h[]; };
#endif
#include "../halves.glsl"

vec2 a_dm(uint block) { return unpackHalf2x16(weights[block].dm); }

void a_codes8(uint chunk, out vec4 first, out vec4 second) {
    const uint block = chunk >> 2;
    const uint at = chunk & 3;
#ifdef GEMV
    const uint bits = uint(weights_h[block * 12 + 4 + at * 2]) | uint(weights_h[block * 12 + 5 + at * 2]) << 16;
#else
    const uint bits = weights[block].qs[at];
#endif
    const uint own = weights[block].qh >> 4 * at;
    const uvec4 fifths = uvec4(own, own >> 1, own >> 2, own >> 3);
    first = vec4((uvec4(bits, bits >> 8, bits >> 16, bits >> 24) & 15) | ((fifths << 4) & 16));
    second = vec4((uvec4(bits >> 4, bits >> 12, bits >> 20, bits >> 28) & 15) | ((fifths >> 12) & 16));
}
#include "../offset.glsl"
