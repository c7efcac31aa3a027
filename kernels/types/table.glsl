// A type's 16 values in shared memory, as llama.cpp has them: of the type A_VALUE.
layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in; // as the kernels have it: gl_WorkGroupSize wants it declared
shared A_VALUE a_table[16];
#ifdef A_SCALE_VALUES
shared float a_scales[A_SCALE_VALUES]; // and its scales', where they are looked up too: needs a_scale_value
#endif

void a_init() {
    for (uint i = gl_LocalInvocationIndex; i < 16; i += gl_WorkGroupSize.x) {
        a_table[i] = A_VALUE(a_values[i]);
    }
#ifdef A_SCALE_VALUES
    for (uint i = gl_LocalInvocationIndex; i < A_SCALE_VALUES; i += gl_WorkGroupSize.x) {
        a_scales[i] = a_scale_value(i);
    }
#endif
    barrier();
}

// The values of four codes, a byte each.
vec4 a_looked_up(uint codes) {
    const uvec4 at = uvec4(unpack8(codes));
    return vec4(a_table[at.x], a_table[at.y], a_table[at.z], a_table[at.w]);
}
