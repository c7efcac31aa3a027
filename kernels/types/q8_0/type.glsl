// q8_0: blocks of 32 in 34 bytes, d f16 @0, qs int8[32] @2; y[j] = d * qs[j].
// 34 is no multiple of four: all loads are of 16 bits. A chunk is eight bytes of qs.
struct block_q8_0 {
    float16_t d;
    uint16_t qs[16];
};
layout(binding = 0, std430) readonly buffer Weights { block_q8_0 weights[]; };

uint a_first(uint chunk) { return chunk * 8; }
uint a_second(uint chunk) { return chunk * 8 + 4; }

vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    const uint block = chunk >> 2;
    const uint at = (chunk & 3) * 4;
    const int low = int(uint(weights[block].qs[at]) | uint(weights[block].qs[at + 1]) << 16);
    const int high = int(uint(weights[block].qs[at + 2]) | uint(weights[block].qs[at + 3]) << 16);
    first = vec4(unpack8(low));
    second = vec4(unpack8(high));
    return vec2(float(weights[block].d), 0.0);
}
