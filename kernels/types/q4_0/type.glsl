// q4_0: blocks of 32 in 18 bytes, d f16 @0, qs[16] @2; y[j] = d * ((qs[j] & 15) - 8), y[j + 16] = d * ((qs[j] >> 4) - 8).
// 18 is no multiple of four: all loads are of 16 bits. A chunk is four bytes of qs: four elements and the four 16 after them.
struct block_q4_0 {
    float16_t d;
    uint16_t qs[8];
};
layout(binding = 0, std430) readonly buffer Weights { block_q4_0 weights[]; };

#include "../halves.glsl"

vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    const uint block = chunk >> 2;
    const uint at = (chunk & 3) * 2;
    const uint bits = uint(weights[block].qs[at]) | uint(weights[block].qs[at + 1]) << 16;
    first = vec4(unpack8(bits & 0x0F0F0F0Fu)) - 8.0;
    second = vec4(unpack8((bits >> 4) & 0x0F0F0F0Fu)) - 8.0;
    return vec2(float(weights[block].d), 0.0);
}
