// A type's 16 numbers as int8, a word each: 8-bit integers need not be there. Wants a_values.
#define A_TABLE
shared uint a_table[16];

void a_init() {
    for (uint i = gl_LocalInvocationIndex; i < 16; i += BLOCK_SIZE) {
        a_table[i] = a_values[i];
    }
    barrier();
}

// What the low and the high half of byte `i` of a word stand for, at that byte's place.
uvec2 a_looked_up(uint codes, uint i) { return uvec2(a_table[codes & 15], a_table[codes >> 4]) << (8 * i); }
