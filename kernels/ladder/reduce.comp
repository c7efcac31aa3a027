#version 450
// Reductions of an accumulator: each row, each column, all, or each 2x2; with addition, and with the maximum.
#include "matrix.glsl"

layout(constant_id = 3) const uint HALF_M = 8;
layout(constant_id = 4) const uint HALF_N = 8;
layout(binding = 2, std430) writeonly buffer BufferD { T d[]; };
layout(binding = 3, std430) readonly buffer BufferC { T c[]; };
#define MAXIMUM 4u

T added(const in T a, const in T b) {
    return a + b;
}

T larger(const in T a, const in T b) {
    return max(a, b);
}

void main() {
    coopmat<T, SCOPE, M, N, gl_MatrixUseAccumulator> m;
    coopMatLoad(m, c, 0, N, gl_CooperativeMatrixLayoutRowMajor);
#ifdef REDUCE_2X2
    coopmat<T, SCOPE, HALF_M, HALF_N, gl_MatrixUseAccumulator> r;
    if (p.mode >= MAXIMUM) {
        coopMatReduceNV(r, m, gl_CooperativeMatrixReduce2x2NV, larger);
    } else {
        coopMatReduceNV(r, m, gl_CooperativeMatrixReduce2x2NV, added);
    }
    coopMatStore(r, d, 0, HALF_N, gl_CooperativeMatrixLayoutRowMajor);
#else
    coopmat<T, SCOPE, M, N, gl_MatrixUseAccumulator> r;
    switch (p.mode) {
    case gl_CooperativeMatrixReduceRowNV:
        coopMatReduceNV(r, m, gl_CooperativeMatrixReduceRowNV, added);
        break;
    case gl_CooperativeMatrixReduceColumnNV:
        coopMatReduceNV(r, m, gl_CooperativeMatrixReduceColumnNV, added);
        break;
    case gl_CooperativeMatrixReduceRowAndColumnNV:
        coopMatReduceNV(r, m, gl_CooperativeMatrixReduceRowAndColumnNV, added);
        break;
    case MAXIMUM + gl_CooperativeMatrixReduceRowNV:
        coopMatReduceNV(r, m, gl_CooperativeMatrixReduceRowNV, larger);
        break;
    case MAXIMUM + gl_CooperativeMatrixReduceColumnNV:
        coopMatReduceNV(r, m, gl_CooperativeMatrixReduceColumnNV, larger);
        break;
    default:
        coopMatReduceNV(r, m, gl_CooperativeMatrixReduceRowAndColumnNV, larger);
        break;
    }
    coopMatStore(r, d, 0, N, gl_CooperativeMatrixLayoutRowMajor);
#endif
}
