// f32 weights.
// Interface of a type file: see README.md beside it.
#define A_FLOAT
layout(binding = 0, std430) readonly buffer WeightsV { vec4 weights_v[]; };
layout(binding = 0, std430) readonly buffer WeightsS { float weights_s[]; };

uint a_first(uint chunk) { return chunk * 8; }
uint a_second(uint chunk) { return chunk * 8 + 4; }

vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    first = weights_v[chunk * 2];
    second = weights_v[chunk * 2 + 1];
    return vec2(1.0, 0.0);
}

vec2 a_load4(uint piece, out vec4 v) {
    v = weights_v[piece];
    return vec2(1.0, 0.0);
}

float a_load1(uint element) { return weights_s[element]; }

#ifdef GEMV
layout(binding = 0, std430) readonly buffer WeightsT { vec2 weights_t[]; };
vec4 a_load2x2(uint element) { return vec4(weights_t[element / 2], weights_t[element / 2 + 1]); }
#endif
