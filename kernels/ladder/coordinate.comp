#version 450
// Coordinates of an accumulator's elements: each invocation stores its own elements where their coordinates say.
// glslang has no name for the instruction yet, so it is given by its number.
#include "matrix.glsl"
#extension GL_EXT_spirv_intrinsics : require

layout(binding = 2, std430) writeonly buffer BufferD { T d[]; };
layout(binding = 3, std430) readonly buffer BufferC { T c[]; };
#define MATRIX coopmat<T, SCOPE, M, N, gl_MatrixUseAccumulator>

spirv_instruction(extensions = ["SPV_EXT_cooperative_matrix_maintenance1"], capabilities = [5438], id = 5363)
uvec2 coordinate(MATRIX m, uint index);

void main() {
    MATRIX m;
    coopMatLoad(m, c, 0, N, gl_CooperativeMatrixLayoutRowMajor);
    for (uint i = 0; i < m.length(); ++i) {
        const uvec2 at = coordinate(m, i);
        d[at.x * N + at.y] = m[i];
    }
}
