#version 450
// One cooperative-matrix tuple: D = A * B + C over `steps` tiles along K, loaded in each layout, from buffers or shared memory.
// SCALAR computes the same without matrices; the tuple must be faster than that.
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_8bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types : require
#ifdef WITH_BF16
#extension GL_EXT_bfloat16 : require
#endif
#ifdef WITH_FLOAT8
#extension GL_EXT_float_e4m3 : require
#extension GL_EXT_float_e5m2 : require
#endif
#ifndef SCALAR
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#ifdef WITH_COOPMAT2
#extension GL_NV_cooperative_matrix2 : require
#endif
#endif

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint LOCAL = 32;
layout(constant_id = 1) const uint M = 16;
layout(constant_id = 2) const uint N = 16;
layout(constant_id = 3) const uint K = 16;
layout(constant_id = 4) const uint PAD = 0; // elements between rows, or columns

layout(binding = 0, std430) readonly buffer BufferA { A_T a[]; };
layout(binding = 1, std430) readonly buffer BufferB { B_T b[]; };
layout(binding = 2, std430) writeonly buffer BufferD { C_T d[]; };
layout(binding = 3, std430) readonly buffer BufferC { C_T c[]; };
layout(push_constant) uniform Problem { uint mode; uint steps; uint unused; } p;
#define COLUMN_A 1u
#define COLUMN_B 2u
#define COLUMN_D 4u
#define SHARED 8u

#ifdef SCALAR
void main() {
    const uint out_at = gl_WorkGroupID.x * M * N;
    const uint row_a = K * p.steps + PAD;
    const uint row_b = N + PAD;
    for (uint at = gl_LocalInvocationIndex; at < M * N; at += LOCAL) {
        const uint m = at / N, n = at % N;
        ACC_T sum = ACC_T(c[at]);
        for (uint k = 0; k < K * p.steps; ++k) {
            sum += ACC_T(a[m * row_a + k]) * ACC_T(b[k * row_b + n]);
        }
        d[out_at + at] = C_T(sum);
    }
}
#else
shared A_T shared_a[(M + PAD) * (K + PAD)];
shared B_T shared_b[(K + PAD) * (N + PAD)];

void main() {
    const bool column_a = (p.mode & COLUMN_A) != 0, column_b = (p.mode & COLUMN_B) != 0, column_d = (p.mode & COLUMN_D) != 0;
    const uint out_at = gl_WorkGroupID.x * M * N;
    // Whole operands: A is M rows of K * steps, B is K * steps rows of N, either stored row by row or column by column.
    const uint stride_a = column_a ? M + PAD : K * p.steps + PAD;
    const uint stride_b = column_b ? K * p.steps + PAD : N + PAD;
    coopmat<C_T, SCOPE, M, N, gl_MatrixUseAccumulator> sum;
    if (column_d) {
        coopMatLoad(sum, c, 0, M, gl_CooperativeMatrixLayoutColumnMajor);
    } else {
        coopMatLoad(sum, c, 0, N, gl_CooperativeMatrixLayoutRowMajor);
    }
    for (uint s = 0; s < p.steps; ++s) {
        coopmat<A_T, SCOPE, M, K, gl_MatrixUseA> ma;
        coopmat<B_T, SCOPE, K, N, gl_MatrixUseB> mb;
        const uint from_a = column_a ? s * K * stride_a : s * K;
        const uint from_b = column_b ? s * K : s * K * stride_b;
        if ((p.mode & SHARED) != 0) {
            const uint inner_a = column_a ? M : K, inner_b = column_b ? K : N;
            for (uint i = gl_LocalInvocationIndex; i < M * K; i += LOCAL) {
                shared_a[i / inner_a * (inner_a + PAD) + i % inner_a] = a[from_a + i / inner_a * stride_a + i % inner_a];
            }
            for (uint i = gl_LocalInvocationIndex; i < K * N; i += LOCAL) {
                shared_b[i / inner_b * (inner_b + PAD) + i % inner_b] = b[from_b + i / inner_b * stride_b + i % inner_b];
            }
            barrier();
            if (column_a) {
                coopMatLoad(ma, shared_a, 0, M + PAD, gl_CooperativeMatrixLayoutColumnMajor);
            } else {
                coopMatLoad(ma, shared_a, 0, K + PAD, gl_CooperativeMatrixLayoutRowMajor);
            }
            if (column_b) {
                coopMatLoad(mb, shared_b, 0, K + PAD, gl_CooperativeMatrixLayoutColumnMajor);
            } else {
                coopMatLoad(mb, shared_b, 0, N + PAD, gl_CooperativeMatrixLayoutRowMajor);
            }
            barrier();
        } else {
            if (column_a) {
                coopMatLoad(ma, a, from_a, stride_a, gl_CooperativeMatrixLayoutColumnMajor);
            } else {
                coopMatLoad(ma, a, from_a, stride_a, gl_CooperativeMatrixLayoutRowMajor);
            }
            if (column_b) {
                coopMatLoad(mb, b, from_b, stride_b, gl_CooperativeMatrixLayoutColumnMajor);
            } else {
                coopMatLoad(mb, b, from_b, stride_b, gl_CooperativeMatrixLayoutRowMajor);
            }
        }
#ifdef SATURATE
        sum = coopMatMulAdd(ma, mb, sum, gl_MatrixOperandsSaturatingAccumulation);
#else
        sum = coopMatMulAdd(ma, mb, sum);
#endif
    }
    if (column_d) {
        coopMatStore(sum, d, out_at, M, gl_CooperativeMatrixLayoutColumnMajor);
    } else {
        coopMatStore(sum, d, out_at, N, gl_CooperativeMatrixLayoutRowMajor);
    }
}
#endif
