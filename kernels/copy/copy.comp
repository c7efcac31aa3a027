#version 450
// Every byte of a buffer to another; with READ every byte read, and one sum a workgroup written.
#extension GL_EXT_control_flow_attributes : require

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint LOCAL = 256;
layout(constant_id = 1) const uint EACH = 4; // uvec4 an invocation; together they read them side by side

layout(binding = 0, std430) readonly buffer Source { uvec4 source[]; };
#ifdef READ
layout(binding = 2, std430) writeonly buffer Output { uint result[]; };
shared uint sums[LOCAL];
#else
layout(binding = 2, std430) writeonly buffer Output { uvec4 result[]; };
#endif

void main() {
    // The buffer is a whole number of workgroups' parts.
    const uint first = gl_WorkGroupID.x * LOCAL * EACH + gl_LocalInvocationIndex;
    uvec4 part[EACH];
    [[unroll]] for (uint i = 0; i < EACH; ++i) {
        part[i] = source[first + i * LOCAL];
    }
#ifdef READ
    uvec4 sum = uvec4(0);
    [[unroll]] for (uint i = 0; i < EACH; ++i) {
        sum += part[i];
    }
    sums[gl_LocalInvocationIndex] = sum.x + sum.y + sum.z + sum.w;
    barrier();
    for (uint half_left = LOCAL / 2; half_left > 0; half_left /= 2) {
        if (gl_LocalInvocationIndex < half_left) {
            sums[gl_LocalInvocationIndex] += sums[gl_LocalInvocationIndex + half_left];
        }
        barrier();
    }
    if (gl_LocalInvocationIndex == 0) {
        result[gl_WorkGroupID.x] = sums[0];
    }
#else
    [[unroll]] for (uint i = 0; i < EACH; ++i) {
        result[first + i * LOCAL] = part[i];
    }
#endif
}
