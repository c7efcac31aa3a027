#version 450
#include "../types/extensions.glsl"
#include "type.glsl"

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint BLOCK_SIZE = 256; // invocations; each decodes 8 elements

layout(binding = 2, std430) writeonly buffer Output { f16vec4 result[]; };
layout(push_constant) uniform Problem { uint M; uint N; uint K; } p;

void main() {
#ifdef A_TABLE
    a_init();
#endif
    // Rows of K have no padding and K is a multiple of the block: the matrix is one run of chunks.
    const uint chunk = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * BLOCK_SIZE + gl_LocalInvocationIndex;
    if (chunk >= p.M * (p.K / 8)) {
        return;
    }
    vec4 first, second;
    const vec2 scale = a_load8(chunk, first, second);
    result[a_first(chunk) / 4] = f16vec4(first * scale.x - scale.y);
    result[a_second(chunk) / 4] = f16vec4(second * scale.x - scale.y);
}
