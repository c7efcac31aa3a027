// A type's 16 numbers as int8, in shared memory as llama.cpp has them. Needs a_values.
#define A_TABLE
shared int8_t a_table[16];

void a_init() {
    for (uint i = gl_LocalInvocationIndex; i < 16; i += BLOCK_SIZE) {
        a_table[i] = int8_t(a_values[i]);
    }
    barrier();
}

// The numbers of four codes, a byte each.
int a_looked_up(uint codes) {
    const uvec4 at = uvec4(unpack8(codes));
    return pack32(i8vec4(a_table[at.x], a_table[at.y], a_table[at.z], a_table[at.w]));
}

// The numbers of the low and of the high halves of four bytes.
ivec2 a_looked_up_halves(uint codes) { return ivec2(a_looked_up(codes & 0x0F0F0F0Fu), a_looked_up((codes >> 4) & 0x0F0F0F0Fu)); }
