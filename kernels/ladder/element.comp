#version 450
// An operation on each element that uses its row and column, a scalar and another matrix's element.
#include "matrix.glsl"

layout(binding = 1, std430) readonly buffer BufferB { T other[]; };
layout(binding = 2, std430) writeonly buffer BufferD { T d[]; };
layout(binding = 3, std430) readonly buffer BufferC { T c[]; };

T operation(const in uint32_t row, const in uint32_t column, const in T x, const in T scale, const in T y) {
    return x * scale + y + T(row % 32 * 32 + column % 32); // f16 holds these numbers
}

void main() {
    coopmat<T, SCOPE, M, N, gl_MatrixUseAccumulator> m, o, r;
    coopMatLoad(m, c, 0, N, gl_CooperativeMatrixLayoutRowMajor);
    coopMatLoad(o, other, 0, N, gl_CooperativeMatrixLayoutRowMajor);
    coopMatPerElementNV(r, m, operation, T(p.mode), o);
    coopMatStore(r, d, 0, N, gl_CooperativeMatrixLayoutRowMajor);
}
