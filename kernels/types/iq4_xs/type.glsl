// iq4_xs: super-blocks of 256 in 136 bytes, d f16 @0, scales_h u16 @2, scales_l[4] @4, qs[128] @8.
// Sub-block s of 32 has 16 bytes of qs: y[j] = d * (scale(s) - 32) * table[qs[j] & 15], y[j + 16] the same of qs[j] >> 4; of its scale
// scales_l has the low four bits (two to a byte), scales_h the upper two. All loads are of 16 bits.
#define A_TABLE
struct block_iq4_xs {
    float16_t d;
    uint16_t scales_h;
    uint16_t scales_l[2];
    uint16_t qs[64];
};
layout(binding = 0, std430) readonly buffer Weights { block_iq4_xs weights[]; };

const float a_values[16] = {-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0};
#include "../table.glsl"

#define A_STAGED 2
vec2 a_load2(uint piece, out vec2 v) {
    const uint block = piece >> 7;
    const uint sub = (piece >> 4) & 7;
    const uvec2 codes = uvec2(unpack8((uint(weights[block].qs[sub * 8 + (piece & 7)]) >> (piece >> 1 & 4)) & 0x0F0Fu).xy);
    v = vec2(a_table[codes.x], a_table[codes.y]);
    const uint low = uint(weights[block].scales_l[sub >> 2]) >> (4 * (sub & 3)) & 15;
    const uint high = uint(weights[block].scales_h) >> (2 * sub) & 3;
    return vec2(float(weights[block].d) * (float(low | high << 4) - 32.0), 0.0);
}
#include "../twos.glsl"
