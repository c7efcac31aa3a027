#version 450
// Multiply-adds of cooperative matrices that stay in registers: at subgroup scope 2 x 2 of them, at WORKGROUP scope one.
// In turn A * B and A' * B are added, A' being -A or nearly so: sums stay small, and results are exact.
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_8bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#ifdef WITH_BF16
#extension GL_EXT_bfloat16 : require
#endif
#ifdef WITH_FLOAT8
#extension GL_EXT_float_e4m3 : require
#extension GL_EXT_float_e5m2 : require
#endif
#ifdef WORKGROUP
#extension GL_NV_cooperative_matrix2 : require
#define SCOPE gl_ScopeWorkgroup
#define SIDE 1
#define UNROLLED 1 // pairs of additions
#define EACH(OF) OF(0, 0)
#else
#define SCOPE gl_ScopeSubgroup
#define SIDE 2
#define UNROLLED 4
#define EACH(OF) OF(0, 0) OF(0, 1) OF(1, 0) OF(1, 1)
#endif

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint LOCAL = 128;
layout(constant_id = 1) const uint M = 16;
layout(constant_id = 2) const uint N = 16;
layout(constant_id = 3) const uint K = 16;
layout(constant_id = 4) const uint TILES = 4; // of a workgroup: each SIDE x SIDE matrices of sums

// Matrices of all tiles: SIDE A's and SIDE A''s a tile, then SIDE B's a tile, then its sums to begin with. A and B are equally wide.
layout(binding = 0, std430) readonly buffer BufferA { A_T a[]; };
layout(binding = 0, std430) readonly buffer BufferB { B_T b[]; };
layout(binding = 3, std430) readonly buffer BufferC { C_T c[]; };
layout(binding = 2, std430) writeonly buffer BufferD { C_T d[]; };
layout(push_constant) uniform Problem { uint unused_m; uint unused_n; uint WORK; uint unused; } p;

const uint FIRST_B = TILES * 2 * SIDE * M * K;
const uint FIRST_C = (FIRST_B + TILES * SIDE * K * N) * A_BYTES / C_BYTES;

#define SUM coopmat<C_T, SCOPE, M, N, gl_MatrixUseAccumulator>
#define ROW gl_CooperativeMatrixLayoutRowMajor
#define LOAD_A(i)                                                                  \
    coopmat<A_T, SCOPE, M, K, gl_MatrixUseA> plus##i, minus##i;                    \
    coopMatLoad(plus##i, a, (t * 2 * SIDE + i) * M * K, K, ROW);                   \
    coopMatLoad(minus##i, a, (t * 2 * SIDE + SIDE + i) * M * K, K, ROW);
#define LOAD_B(j)                                                                  \
    coopmat<B_T, SCOPE, K, N, gl_MatrixUseB> b##j;                                 \
    coopMatLoad(b##j, b, FIRST_B + (t * SIDE + j) * K * N, N, ROW);
#define LOAD_C(i, j)                                                               \
    SUM sum##i##j;                                                                 \
    coopMatLoad(sum##i##j, c, FIRST_C + ((t * SIDE + i) * SIDE + j) * M * N, N, ROW);
#define ADD(i, j) sum##i##j = coopMatMulAdd(plus##i, b##j, sum##i##j);
#define TAKE(i, j) sum##i##j = coopMatMulAdd(minus##i, b##j, sum##i##j);
#define STORE(i, j) coopMatStore(sum##i##j, d, (((gl_WorkGroupID.x * TILES + t) * SIDE + i) * SIDE + j) * M * N, N, ROW);
#define BOTH EACH(ADD) EACH(TAKE)

void tile(uint t) {
    LOAD_A(0)
    LOAD_B(0)
#if SIDE > 1
    LOAD_A(1)
    LOAD_B(1)
#endif
    EACH(LOAD_C)
    for (uint left = p.WORK / (TILES * SIDE * SIDE * M * N * K / LOCAL * 2 * UNROLLED); left != 0; --left) {
        BOTH
#if UNROLLED == 4
        BOTH
        BOTH
        BOTH
#endif
    }
    EACH(ADD) // so that it does not end where it began
    EACH(STORE)
}

void main() {
#ifdef WORKGROUP
    tile(0);
#else
    // The workgroup has the same work whatever size the subgroups have.
    for (uint t = gl_SubgroupID; t < TILES; t += gl_NumSubgroups) {
        tile(t);
    }
#endif
}
