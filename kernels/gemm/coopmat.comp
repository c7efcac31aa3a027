#version 450
#define ARITHMETIC_F16
#include "../types/extensions.glsl"
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#include "type.glsl"
#ifdef STAGE_BF16
#extension GL_EXT_bfloat16 : require
#else
#define STAGE_F16
#endif
#define STRIDE_PAD 4
#include "stage.glsl"

#ifdef ACC_F16
#define ACC float16_t
#else
#define ACC float
#endif

const uint ROWS = WM / TM; // cooperative matrices a subgroup holds
const uint COLUMNS = WN / TN;

// Where a matrix reaches over the edge of D it goes through here, one per subgroup.
shared ACC stage_d[TM * TN * (BLOCK_SIZE / WARP)];

void store(coopmat<ACC, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator> sum, uint m, uint n) {
    const coopmat<float, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator> d =
        coopmat<float, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator>(sum);
    coopMatStore(d, result, part_of_d() + n * p.M + m, p.M, gl_CooperativeMatrixLayoutColumnMajor);
}

void main() {
#ifdef A_TABLE
    a_init();
#endif
    const uint m0 = gl_WorkGroupID.x * BM;
    const uint n0 = gl_WorkGroupID.y * BN;
    const uint warp_m = gl_SubgroupID % (BM / WM) * WM;
    const uint warp_n = gl_SubgroupID / (BM / WM) * WN;

    coopmat<ACC, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator> sums[ROWS * COLUMNS];
    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; ++i) {
        sums[i] = coopmat<ACC, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator>(0.0);
    }

    uint first_a = (m0 * p.K + part_begin()) / A_STAGED;
    uint first_b = (n0 * p.K + part_begin()) / B_STAGED;
    const uint end = part_end();
    for (uint k0 = part_begin(); k0 < end; k0 += BK) {
        stage_weights(m0, k0, first_a);
        stage_activations(n0, k0, first_b);
        barrier();
        first_a += BK / A_STAGED;
        first_b += BK / B_STAGED;

        [[unroll]] for (uint k = 0; k < BK; k += TK) {
            // B is loaded anew for each row of matrices, as in llama.cpp; the compiler may keep it.
            [[unroll]] for (uint r = 0; r < ROWS; ++r) {
                coopmat<STAGE, gl_ScopeSubgroup, TM, TK, gl_MatrixUseA> a;
                coopMatLoad(a, stage_a, (warp_m + r * TM) * STRIDE + k / 2, STRIDE, gl_CooperativeMatrixLayoutRowMajor);
                [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
                    coopmat<STAGE, gl_ScopeSubgroup, TK, TN, gl_MatrixUseB> b;
                    coopMatLoad(b, stage_b, (warp_n + c * TN) * STRIDE + k / 2, STRIDE, gl_CooperativeMatrixLayoutColumnMajor);
                    sums[c * ROWS + r] = coopMatMulAdd(a, b, sums[c * ROWS + r]);
                }
            }
        }
        barrier();
    }

    // D is f32 and stored with M innermost: a matrix is column-major there. The barriers stand where the whole workgroup
    // passes: at subgroup scope, where other subgroups skip them, lavapipe loses stores.
    // Stores want rows at multiples of 16 B (VUID-RuntimeSpirv-OpCooperativeMatrixLoadKHR-08986): D's are M floats.
    const bool rows_aligned = p.M % 4 == 0;
    const bool ragged = !rows_aligned || m0 + BM > p.M || n0 + BN > p.N;
    [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
        [[unroll]] for (uint r = 0; r < ROWS; ++r) {
            const uint m = m0 + warp_m + r * TM;
            const uint n = n0 + warp_n + c * TN;
            if (!ragged) {
                store(sums[c * ROWS + r], m, n);
                continue;
            }
            const bool inside = rows_aligned && m + TM <= p.M && n + TN <= p.N;
            if (inside) {
                store(sums[c * ROWS + r], m, n);
            } else {
                coopMatStore(sums[c * ROWS + r], stage_d, gl_SubgroupID * TM * TN, TM, gl_CooperativeMatrixLayoutColumnMajor);
            }
            barrier();
            if (!inside) {
                [[unroll]] for (uint i = 0; i < TM * TN; i += WARP) {
                    const uint at = i + gl_SubgroupInvocationID;
                    if (at < TM * TN && m + at % TM < p.M && n + at / TM < p.N) {
                        result[part_of_d() + (n + at / TM) * p.M + m + at % TM] = float(stage_d[gl_SubgroupID * TM * TN + at]);
                    }
                }
            }
            barrier();
        }
    }
}
