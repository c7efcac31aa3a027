#version 450
// Tensor addressing: slices of a matrix in memory with rows further apart than they are long, beyond its edges and transposed.
#include "matrix.glsl"

layout(constant_id = 3) const uint STRIDE = 64; // elements between the rows in memory
layout(binding = 0, std430) readonly buffer BufferA { T a[]; };
layout(binding = 2, std430) writeonly buffer BufferD { T d[]; };
layout(binding = 3, std430) readonly buffer BufferC { T c[]; };
#define CONSTANT 1u
#define TO_EDGE 2u
#define REPEATED 3u
#define MIRRORED 4u
#define TRANSPOSED 5u
#define STORED 6u
#define STORED_TRANSPOSED 7u

#define SLICED(t, row, rows, column, columns) \
    t = setTensorLayoutDimensionNV(t, p.extent & 0xFFFF, p.extent >> 16); \
    t = setTensorLayoutStrideNV(t, STRIDE, 1); \
    t = sliceTensorLayoutNV(t, row, rows, column, columns);

void main() {
    const int row = bitfieldExtract(int(p.offset), 0, 16);
    const int column = bitfieldExtract(int(p.offset), 16, 16);
    coopmat<T, SCOPE, M, N, USE> m;
    if (p.mode == STORED || p.mode == STORED_TRANSPOSED) {
        coopMatLoad(m, c, 0, N, gl_CooperativeMatrixLayoutRowMajor);
        tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> t = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
        if (p.mode == STORED) {
            SLICED(t, row, M, column, N)
            coopMatStoreTensorNV(m, d, 0, t);
        } else {
            SLICED(t, row, N, column, M)
            tensorViewNV<2, false, 1, 0> view = createTensorViewNV(2, false, 1, 0);
            coopMatStoreTensorNV(m, d, 0, t, view);
        }
        return;
    }
    switch (p.mode) {
    case CONSTANT: {
        tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> t = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
        SLICED(t, row, M, column, N)
        t = setTensorLayoutClampValueNV(t, CLAMP_BITS);
        coopMatLoadTensorNV(m, a, 0, t);
        break;
    }
    case TO_EDGE: {
        tensorLayoutNV<2, gl_CooperativeMatrixClampModeClampToEdgeNV> t =
            createTensorLayoutNV(2, gl_CooperativeMatrixClampModeClampToEdgeNV);
        SLICED(t, row, M, column, N)
        coopMatLoadTensorNV(m, a, 0, t);
        break;
    }
    case REPEATED: {
        tensorLayoutNV<2, gl_CooperativeMatrixClampModeRepeatNV> t = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeRepeatNV);
        SLICED(t, row, M, column, N)
        coopMatLoadTensorNV(m, a, 0, t);
        break;
    }
    case MIRRORED: {
        tensorLayoutNV<2, gl_CooperativeMatrixClampModeMirrorRepeatNV> t =
            createTensorLayoutNV(2, gl_CooperativeMatrixClampModeMirrorRepeatNV);
        SLICED(t, row, M, column, N)
        coopMatLoadTensorNV(m, a, 0, t);
        break;
    }
    case TRANSPOSED: {
        tensorLayoutNV<2> t = createTensorLayoutNV(2);
        SLICED(t, row, N, column, M)
        tensorViewNV<2, false, 1, 0> view = createTensorViewNV(2, false, 1, 0);
        coopMatLoadTensorNV(m, a, 0, t, view);
        break;
    }
    default: {
        tensorLayoutNV<2> t = createTensorLayoutNV(2);
        SLICED(t, row, M, column, N)
        coopMatLoadTensorNV(m, a, 0, t);
        break;
    }
    }
    coopMatStore(m, d, 0, N, gl_CooperativeMatrixLayoutRowMajor);
}
