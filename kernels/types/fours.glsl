// Types that decode four neighbouring elements at a time: a chunk is two such pieces of one scale. Needs a_load4.
uint a_first(uint chunk) { return chunk * 8; }
uint a_second(uint chunk) { return chunk * 8 + 4; }

vec2 a_load8(uint chunk, out vec4 first, out vec4 second) {
    a_load4(chunk * 2 + 1, second);
    return a_load4(chunk * 2, first);
}
