#version 450
// Writes a value that depends on the push constant and the index: a device that executes nothing can't have guessed it.
layout(local_size_x = 64, local_size_y = 1, local_size_z = 1) in;
layout(binding = 2, std430) writeonly buffer Output { uint result[]; };
layout(push_constant) uniform Problem { uint M; uint N; uint K; } p;

void main() {
    if (gl_GlobalInvocationID.x < p.M) {
        result[gl_GlobalInvocationID.x] = (gl_GlobalInvocationID.x + p.N) * 2654435761u ^ p.K;
    }
}
