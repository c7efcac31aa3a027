#version 450
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#ifdef REDUCE_SUBGROUP
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_clustered : require
#endif
// f32 activations to q8_1, laid out as in types/q8_1.glsl: d = max |x| / 127, q = x / d rounded half away from zero, and d * sum of q.
layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint BLOCK_SIZE = 256; // invocations; each converts four elements, eight of them a block
#define LANES 8

layout(binding = 0, std430) readonly buffer Input { vec4 values[]; };
layout(binding = 2, std430) writeonly buffer OutputScales { f16vec2 scales[]; };
layout(binding = 2, std430) writeonly buffer OutputWords { uint words[]; };
layout(push_constant) uniform Problem { uint M; uint N; uint K; } p;

#ifndef REDUCE_SUBGROUP
shared float exchange[BLOCK_SIZE];
#endif

float most_of_block(float v) {
#ifdef REDUCE_SUBGROUP
    return subgroupClusteredMax(v, LANES);
#else
    const uint me = gl_LocalInvocationIndex;
    [[unroll]] for (uint away = LANES / 2; away > 0; away /= 2) {
        exchange[me] = v;
        barrier();
        v = max(v, exchange[me ^ away]);
        barrier();
    }
    return v;
#endif
}

float sum_of_block(float v) {
#ifdef REDUCE_SUBGROUP
    return subgroupClusteredAdd(v, LANES);
#else
    const uint me = gl_LocalInvocationIndex;
    [[unroll]] for (uint away = LANES / 2; away > 0; away /= 2) {
        exchange[me] = v;
        barrier();
        v += exchange[me ^ away];
        barrier();
    }
    return v;
#endif
}

// C's roundf; GLSL's round may go either way half-way between integers.
vec4 rounded(vec4 v) {
    const vec4 whole = trunc(v);
    return whole + mix(vec4(0.0), sign(v), greaterThanEqual(abs(v - whole), vec4(0.5)));
}

void main() {
#ifdef REDUCE_SUBGROUP
    const uint invocation = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID; // a cluster has neighbours by these
#else
    const uint invocation = gl_LocalInvocationIndex;
#endif
    const uint at = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * BLOCK_SIZE + invocation;
    const uint block = at / LANES;
    const uint lane = at % LANES;
    const uint blocks = p.N * (p.K / 32);
    const vec4 v = block < blocks ? values[at] : vec4(0.0); // the blocks that fill the last group up are zero

    const float most = most_of_block(max(max(abs(v.x), abs(v.y)), max(abs(v.z), abs(v.w))));
    const float d = most / 127.0;
    const vec4 q = rounded(v * (d != 0.0 ? 1.0 / d : 0.0));
    const float sum = sum_of_block(q.x + q.y + q.z + q.w);

    if (block >= (blocks + 3) / 4 * 4) {
        return;
    }
    const uint group = block / 4 * 36;
    const uvec4 bytes = uvec4(ivec4(q)) & 0xFFu;
    words[group + 4 + block % 4 * 8 + lane] = bytes.x | bytes.y << 8 | bytes.z << 16 | bytes.w << 24;
    if (lane == 0) {
        scales[group + block % 4] = f16vec2(d, d * sum);
    }
}
