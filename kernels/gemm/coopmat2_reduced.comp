#version 450
// The part of coopmat2.comp that runs where a driver has only part of VK_NV_cooperative_matrix2: matrices of subgroup scope in the shape of
// a KHR tuple, f16 activations loaded from where they lie, and operations on each element (cooperativeMatrixPerElementOperations) where
// there is an edge to mind: at the end of K they fetch, at the edges of D they store. A is staged in shared memory, as in coopmat.comp.
#define ARITHMETIC_F16
#include "../types/extensions.glsl"
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_NV_cooperative_matrix2 : require
#include "type.glsl"
#define STAGE_F16
#define B_UNSTAGED
#define STRIDE_PAD 4
#include "stage.glsl"

#ifdef ACC_F16
#define ACC float16_t
#else
#define ACC float
#endif
#define SUM coopmat<ACC, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator>

// N is padded to a multiple of BN here.
layout(binding = 1, std430) readonly buffer ActivationsH { float16_t activations_h[]; };

const uint ROWS = WM / TM; // cooperative matrices a subgroup holds
const uint COLUMNS = WN / TN;

float16_t fetch(const in uint32_t row, const in uint32_t column, const in float16_t x, const in uint n, const in uint k) {
    return k + row < p.K ? activations_h[(n + column) * p.K + k + row] : float16_t(0.0);
}

ACC put(const in uint32_t row, const in uint32_t column, const in ACC x, const in uint m, const in uint n) {
    if (m + row < p.M && n + column < p.N) {
        result[part_of_d() + (n + column) * p.M + m + row] = float(x);
    }
    return x;
}

void main() {
#ifdef A_TABLE
    a_init();
#endif
    const uint m0 = gl_WorkGroupID.x * BM;
    const uint n0 = gl_WorkGroupID.y * BN;
    const uint warp_m = gl_SubgroupID % (BM / WM) * WM;
    const uint warp_n = gl_SubgroupID / (BM / WM) * WN;

    SUM sums[ROWS * COLUMNS];
    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; ++i) {
        sums[i] = SUM(0.0);
    }

    uint first_a = (m0 * p.K + part_begin()) / A_STAGED;
    const uint end = part_end();
    for (uint k0 = part_begin(); k0 < end; k0 += BK) {
        stage_weights(m0, k0, first_a);
        barrier();
        first_a += BK / A_STAGED;

        [[unroll]] for (uint k = 0; k < BK; k += TK) {
            coopmat<float16_t, gl_ScopeSubgroup, TM, TK, gl_MatrixUseA> a[ROWS];
            [[unroll]] for (uint r = 0; r < ROWS; ++r) {
                coopMatLoad(a[r], stage_a, (warp_m + r * TM) * STRIDE + k / 2, STRIDE, gl_CooperativeMatrixLayoutRowMajor);
            }
            [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
                const uint n = n0 + warp_n + c * TN;
                coopmat<float16_t, gl_ScopeSubgroup, TK, TN, gl_MatrixUseB> b;
                if (ALIGNED) {
                    coopMatLoad(b, activations_h, n * p.K + k0 + k, p.K, gl_CooperativeMatrixLayoutColumnMajor);
                } else {
                    b = coopmat<float16_t, gl_ScopeSubgroup, TK, TN, gl_MatrixUseB>(0.0);
                    coopMatPerElementNV(b, b, fetch, n, k0 + k);
                }
                [[unroll]] for (uint r = 0; r < ROWS; ++r) {
                    sums[c * ROWS + r] = coopMatMulAdd(a[r], b, sums[c * ROWS + r]);
                }
            }
        }
        barrier();
    }

    [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
        [[unroll]] for (uint r = 0; r < ROWS; ++r) {
            coopMatPerElementNV(sums[c * ROWS + r], sums[c * ROWS + r], put, m0 + warp_m + r * TM, n0 + warp_n + c * TN);
        }
    }
}
