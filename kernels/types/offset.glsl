// Blocks of 32 with an offset m that is added: element = d * code + m. Needs a_codes8, which gives a chunk's codes, and a_dm.
// In the GEMV an offset is applied to the elements, as in llama.cpp, and only where it isn't zero: then no scale and offset are left.
#define A_MIN
vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    a_codes8(chunk, first, second);
    const vec2 dm = a_dm(chunk >> 2);
#ifdef GEMV
    if (dm.y != 0.0) {
        first = first * dm.x + dm.y;
        second = second * dm.x + dm.y;
        return vec2(1.0, 0.0);
    }
    return vec2(dm.x, 0.0);
#else
    return vec2(dm.x, -dm.y);
#endif
}
