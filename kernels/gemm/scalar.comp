#version 450
#include "../types/extensions.glsl"
#ifdef STAGE_F16
#define ARITHMETIC_F16
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#include "type.glsl"
#define STRIDE_PAD 1
#include "stage.glsl"

#ifdef ACC_F16
#define ACC float16_t
#else
#define ACC float
#endif

#ifdef DOT2
// VK_VALVE_shader_mixed_float_dot_product: two f16 products and an f32 addend in one instruction, which glslang has no name for yet.
#extension GL_EXT_spirv_intrinsics : require
spirv_instruction(extensions = ["SPV_VALVE_mixed_float_dot_product"], capabilities = [6912], id = 6916)
float mixed_dot(f16vec2 a, f16vec2 b, float c);
#define ADD_PRODUCTS(a, b, c) mixed_dot(a, b, c)
#else
#define ADD_PRODUCTS(a, b, c) fma(ACC((a).x), ACC((b).x), fma(ACC((a).y), ACC((b).y), c))
#endif

// A subgroup covers WM x WN in WMITER x WNITER steps of WSUBM x WSUBN; in each, every invocation has TM x TN results.
const uint WNITER = (WM * WN) / (WARP * TM * TN * WMITER);
const uint WSUBM = WM / WMITER;
const uint WSUBN = WN / WNITER;

ACC sums[WMITER * TM * WNITER * TN];

void main() {
#ifdef A_TABLE
    a_init();
#endif
    const uint m0 = gl_WorkGroupID.x * BM;
    const uint n0 = gl_WorkGroupID.y * BN;
    const uint warp = gl_LocalInvocationIndex / WARP;
    const uint lane = gl_LocalInvocationIndex % WARP;
    const uint warp_m = warp % (BM / WM) * WM + lane % (WSUBM / TM) * TM;
    const uint warp_n = warp / (BM / WM) * WN + lane / (WSUBM / TM) * TN;

    [[unroll]] for (uint i = 0; i < WMITER * TM * WNITER * TN; ++i) {
        sums[i] = ACC(0.0);
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

        [[unroll]] for (uint k = 0; k < BK / 2; ++k) {
            STAGE2 a[WMITER * TM];
            [[unroll]] for (uint i = 0; i < WMITER; ++i) {
                [[unroll]] for (uint r = 0; r < TM; ++r) {
                    a[i * TM + r] = stage_a[(warp_m + i * WSUBM + r) * STRIDE + k];
                }
            }
            [[unroll]] for (uint j = 0; j < WNITER; ++j) {
                [[unroll]] for (uint c = 0; c < TN; ++c) {
                    const STAGE2 b = stage_b[(warp_n + j * WSUBN + c) * STRIDE + k];
                    [[unroll]] for (uint i = 0; i < WMITER * TM; ++i) {
                        const uint at = (j * TN + c) * WMITER * TM + i;
                        sums[at] = ADD_PRODUCTS(a[i], b, sums[at]);
                    }
                }
            }
        }
        barrier();
    }

    [[unroll]] for (uint j = 0; j < WNITER; ++j) {
        [[unroll]] for (uint c = 0; c < TN; ++c) {
            const uint n = n0 + warp_n + j * WSUBN + c;
            [[unroll]] for (uint i = 0; i < WMITER; ++i) {
                [[unroll]] for (uint r = 0; r < TM; ++r) {
                    const uint m = m0 + warp_m + i * WSUBM + r;
                    if (m < p.M && n < p.N) {
                        result[part_of_d() + n * p.M + m] = float(sums[(j * TN + c) * WMITER * TM + i * TM + r]);
                    }
                }
            }
        }
    }
}
