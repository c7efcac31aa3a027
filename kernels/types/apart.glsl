// Types that decode two bytes at a time: two elements and the two 16 after them. A chunk is two such pieces of one scale. Needs a_load4.
#include "halves.glsl"
#define A_STAGED 4
#define A_APART 16
uint a_pair(uint piece) { return (piece >> 3) * 32 + (piece & 7) * 2; }

vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    vec4 low, high;
    a_load4(chunk * 2 + 1, high);
    const vec2 scale = a_load4(chunk * 2, low);
    first = vec4(low.xy, high.xy);
    second = vec4(low.zw, high.zw);
    return scale;
}
