// q4_k and q5_k against q8_1: d * scale * d8 * sum of q * q8 - dmin * minimum * s8 of each of eight sub-blocks of 32.
// Needs weights with `dm` and `scales`.
#include "two_scales.glsl"
#include "six_bits.glsl"
#define A_ELEMENTS 16

vec2 scale_of(uint block) { return unpackHalf2x16(weights[block >> 3].dm) * vec2(k_scale(weights[block >> 3].scales, block & 7)); }

#ifdef GEMM
// It reads the bytes that it wants, each half of a super-block in a branch of its own, as llama.cpp's GEMM does.
struct ScaleBytes {
    uint dm;
    uint8_t scales[12];
    uint codes[BLOCK_CODE_WORDS];
};
layout(binding = 0, std430) readonly buffer WeightsB { ScaleBytes weights_b[]; };

A_SCALE a_scale(uint block) {
    const uint at = block >> 3;
    const uint sub = block & 7;
    const uint scale = uint(weights_b[at].scales[sub & 3]);
    const uint minimum = uint(weights_b[at].scales[(sub & 3) + 4]);
    uvec2 both;
    if (sub < 4) {
        both = uvec2(scale, minimum) & 0x3F;
    } else {
        const uint low = uint(weights_b[at].scales[sub + 4]);
        both = uvec2(low & 0x0F, low >> 4) | ((uvec2(scale, minimum) & 0xC0) >> 2);
    }
    return packed(unpackHalf2x16(weights_b[at].dm) * vec2(both));
}
#endif

#ifndef INT8_MATRIX
float a_product(int a[A_WORDS], A_SCALE scale, int b[8], vec2 ds) {
    const vec2 dm = unpackHalf2x16(scale);
    return ds.x * dm.x * float(a_dot(a, b, 0, A_WORDS)) - dm.y * ds.y;
}

float part_product(uint block, uint part, int sum, vec2 ds) {
    const vec2 dm = scale_of(block);
    return ds.x * dm.x * float(sum) - 0.5 * dm.y * ds.y; // a sub-block has two parts, each of which takes half of its offset
}
#endif
