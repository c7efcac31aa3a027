#version 450
// One subgroup operation: every invocation writes where it is and what it got, for the host to compare.
// OP is an expression over x (int), y (float), lane (of lanes[]) and p; it makes a uvec4.
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_vote : enable
#extension GL_KHR_shader_subgroup_arithmetic : enable
#extension GL_KHR_shader_subgroup_ballot : enable
#extension GL_KHR_shader_subgroup_shuffle : enable
#extension GL_KHR_shader_subgroup_clustered : enable

#define CLUSTER 8 // invocations that quantise one block to q8_1 in llama.cpp

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;

struct Seen { uint size; uint subgroup; uint lane; uint taken; uvec4 got; };
layout(binding = 0, std430) readonly buffer BufferX { int values[]; };
layout(binding = 1, std430) readonly buffer BufferLanes { uint lanes[]; };
layout(binding = 2, std430) writeonly buffer BufferSeen { Seen seen[]; };
layout(push_constant) uniform Parameters { uint part; uint which; uint unused; } p;

uvec4 two(float of_floats, int of_integers) {
    return uvec4(floatBitsToUint(of_floats), uint(of_integers), 0, 0);
}

void main() {
    const uint at = gl_GlobalInvocationID.x;
    const int x = values[at];
    const float y = float(x);
    const uint lane = lanes[at];
    uvec4 got = uvec4(0);
    // With `part` only some invocations of a subgroup come in; the others must leave no trace in the result.
    const bool taken = p.part == 0 || (x & 1) != 0;
    if (taken) {
        got = OP;
    }
    seen[at] = Seen(gl_SubgroupSize, gl_SubgroupID, gl_SubgroupInvocationID, uint(taken), got);
}
