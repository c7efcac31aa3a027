// bf16 weights: the upper halves of f32. Widened by shifting, as llama.cpp does where there is no bf16 matrix unit: no bf16 feature is needed.
#define A_FLOAT
layout(binding = 0, std430) readonly buffer WeightsV { uvec4 weights_v[]; };
layout(binding = 0, std430) readonly buffer WeightsP { uvec2 weights_p[]; };
layout(binding = 0, std430) readonly buffer WeightsS { uint16_t weights_s[]; };

uint a_first(uint chunk) { return chunk * 8; }
uint a_second(uint chunk) { return chunk * 8 + 4; }

vec4 a_widened(uint low, uint high) {
    return uintBitsToFloat(uvec4(low << 16, low & 0xFFFF0000u, high << 16, high & 0xFFFF0000u));
}

vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    const uvec4 bits = weights_v[chunk];
    first = a_widened(bits.x, bits.y);
    second = a_widened(bits.z, bits.w);
    return vec2(1.0, 0.0);
}

vec2 a_load4(uint piece, out vec4 v) {
    const uvec2 bits = weights_p[piece];
    v = a_widened(bits.x, bits.y);
    return vec2(1.0, 0.0);
}

float a_load1(uint element) { return uintBitsToFloat(uint(weights_s[element]) << 16); }

#ifdef GEMV
layout(binding = 0, std430) readonly buffer WeightsT { uint weights_t[]; };
vec4 a_load2x2(uint element) { return a_widened(weights_t[element / 2], weights_t[element / 2 + 1]); }
#endif
