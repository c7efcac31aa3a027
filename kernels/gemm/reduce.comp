#version 450
// Sums the partial products of a split K: D[n][m] = sum over part of partials[part][n][m].
layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint BLOCK_SIZE = 256; // invocations; each sums four elements
layout(constant_id = 1) const uint PARTS = 2;

layout(binding = 0, std430) readonly buffer PartialsV { vec4 partials_v[]; };
layout(binding = 0, std430) readonly buffer PartialsS { float partials_s[]; };
layout(binding = 2, std430) writeonly buffer OutputV { vec4 result_v[]; };
layout(binding = 2, std430) writeonly buffer OutputS { float result_s[]; };
layout(push_constant) uniform Problem { uint M; uint N; uint K; uint PART_K; } p;

void main() {
    const uint elements = p.M * p.N;
    const uint at = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * BLOCK_SIZE + gl_LocalInvocationIndex;
    if (elements % 4 == 0) { // else a part's vectors don't begin where its elements do
        if (at < elements / 4) {
            vec4 sum = vec4(0.0);
            for (uint i = 0; i < PARTS; ++i) {
                sum += partials_v[i * (elements / 4) + at];
            }
            result_v[at] = sum;
        }
        return;
    }
    for (uint element = at * 4; element < min(at * 4 + 4, elements); ++element) {
        float sum = 0.0;
        for (uint i = 0; i < PARTS; ++i) {
            sum += partials_s[i * elements + element];
        }
        result_s[element] = sum;
    }
}
