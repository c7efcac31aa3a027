// f16 weights.
// Interface of a type file: see README.md beside it.
#define A_FLOAT
layout(binding = 0, std430) readonly buffer WeightsV { uvec4 weights_v[]; };
layout(binding = 0, std430) readonly buffer WeightsP { uvec2 weights_p[]; };
layout(binding = 0, std430) readonly buffer WeightsS { float16_t weights_s[]; };

uint a_first(uint chunk) { return chunk * 8; }
uint a_second(uint chunk) { return chunk * 8 + 4; }

vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    const uvec4 bits = weights_v[chunk];
    first = vec4(unpackHalf2x16(bits.x), unpackHalf2x16(bits.y));
    second = vec4(unpackHalf2x16(bits.z), unpackHalf2x16(bits.w));
    return vec2(1.0, 0.0);
}

vec2 a_load4(uint piece, out vec4 v) {
    const uvec2 bits = weights_p[piece];
    v = vec4(unpackHalf2x16(bits.x), unpackHalf2x16(bits.y));
    return vec2(1.0, 0.0);
}

float a_load1(uint element) { return float(weights_s[element]); }

#ifdef GEMV
layout(binding = 0, std430) readonly buffer WeightsT { uint weights_t[]; };
vec4 a_load2x2(uint element) { return vec4(unpackHalf2x16(weights_t[element / 2]), unpackHalf2x16(weights_t[element / 2 + 1])); }
#endif
