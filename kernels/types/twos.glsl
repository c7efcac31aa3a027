// Types that decode two neighbouring elements at a time: a chunk is four such pieces of one scale. Needs a_load2.
vec2 a_load4(uint piece, out vec4 v) {
    vec2 low, high;
    a_load2(piece * 2 + 1, high);
    const vec2 scale = a_load2(piece * 2, low);
    v = vec4(low, high);
    return scale;
}
#include "fours.glsl"
