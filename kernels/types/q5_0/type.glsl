// q5_0: blocks of 32 in 22 bytes, d f16 @0, qh[4] @2, qs[16] @6; y[j] = d * ((qs[j] & 15 | fifth(j)) - 16), y[j + 16] the same of
// qs[j] >> 4 and fifth(j + 16), which is 16 where bit j of qh is set. 22 is no multiple of four: all loads are of 16 bits.
#include "block.glsl"

vec2 a_load4(uint piece, out vec4 v) {
    const uint block = piece >> 3;
    const uint at = piece & 7;
    const uint fifths = (uint(weights[block].qh[1]) << 16 | uint(weights[block].qh[0])) >> 2 * at;
    const uint bits = uint(weights[block].qs[at]);
    const uvec4 low = uvec4(bits, bits >> 8, bits >> 4, bits >> 12) & 15;
    const uvec4 high = (uvec4(fifths, fifths >> 1, fifths >> 16, fifths >> 17) << 4) & 16;
    v = vec4(low | high) - 16.0;
    return vec2(float(weights[block].d), 0.0);
}
#include "../apart.glsl"
