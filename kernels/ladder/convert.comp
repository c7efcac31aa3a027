#version 450
// Conversions of an accumulator: to use A, to use B, to use B transposed; in each the component type changes from T to A_T.
#include "matrix.glsl"

layout(binding = 2, std430) writeonly buffer BufferD { A_T d[]; };
layout(binding = 3, std430) readonly buffer BufferC { T c[]; };
#define TO_A 0u
#define TO_B 1u

void main() {
    coopmat<T, SCOPE, M, N, gl_MatrixUseAccumulator> m;
    coopMatLoad(m, c, 0, N, gl_CooperativeMatrixLayoutRowMajor);
    if (p.mode == TO_A) {
        const coopmat<A_T, SCOPE, M, N, gl_MatrixUseA> a = coopmat<A_T, SCOPE, M, N, gl_MatrixUseA>(m);
        coopMatStore(a, d, 0, N, gl_CooperativeMatrixLayoutRowMajor);
    } else if (p.mode == TO_B) {
        const coopmat<A_T, SCOPE, M, N, gl_MatrixUseB> b = coopmat<A_T, SCOPE, M, N, gl_MatrixUseB>(m);
        coopMatStore(b, d, 0, N, gl_CooperativeMatrixLayoutRowMajor);
    } else {
        coopmat<A_T, SCOPE, N, M, gl_MatrixUseB> b;
        coopMatTransposeNV(b, coopmat<A_T, SCOPE, M, N, gl_MatrixUseAccumulator>(m));
        coopMatStore(b, d, 0, M, gl_CooperativeMatrixLayoutRowMajor);
    }
}
