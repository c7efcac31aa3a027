#version 450
#include "../types/extensions.glsl"
#extension GL_EXT_integer_dot_product : require

// Constants, push constants and output as in stage.glsl.
layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint BLOCK_SIZE = 128;
layout(constant_id = 1) const uint BM = 64;
layout(constant_id = 2) const uint BN = 64;
layout(constant_id = 4) const uint WM = 32;
layout(constant_id = 5) const uint WN = 32;
layout(constant_id = 6) const uint WMITER = 2;
layout(constant_id = 7) const uint TM = 2;
layout(constant_id = 8) const uint TN = 2;
layout(constant_id = 10) const uint WARP = 32;
layout(constant_id = 11) const bool ALIGNED = true; // K is a multiple of 32 * STEP
layout(binding = 2, std430) writeonly buffer Output { float result[]; };
layout(push_constant) uniform Problem { uint M; uint N; uint K; uint PART_K; } p;
#include "../types/q8_1.glsl"
#include "intdot.glsl"

#define STEP 4 // blocks of 32 along K that are staged at once

// A plane holds 16 bytes of each row; which invocations write and read together is such that their rows are neighbours in a plane or
// lie in planes that the padding spreads over the banks.
#define STRIDE_A (BM + A_PAD)
#define STRIDE_B (BN + 1)
shared ivec4 stage_a[STEP * A_CHUNKS * STRIDE_A];
shared ivec4 stage_b[STEP * 2 * STRIDE_B];
shared A_SCALE scale_a[STEP * BM];
shared uint scale_b[STEP * BN];

// A subgroup covers WM x WN in WMITER x WNITER steps of WSUBM x WSUBN; in each, every invocation has TM x TN results, LANES_M and
// LANES_N apart.
const uint WNITER = (WM * WN) / (WARP * TM * TN * WMITER);
const uint WSUBM = WM / WMITER;
const uint WSUBN = WN / WNITER;
const uint LANES_M = WSUBM / TM;
const uint LANES_N = WSUBN / TN;
const uint ROWS = WMITER * TM; // of an invocation
const uint COLUMNS = WNITER * TN;

uint row_at(uint i) { return i / TM * WSUBM + i % TM * LANES_M; }
uint column_at(uint i) { return i / TN * WSUBN + i % TN * LANES_N; }

// Rows beyond M or N repeat the last one, blocks beyond the end of K the last one: never read out of bounds, and not in any result.
void stage_weights(uint m0, uint block0, uint end) {
    [[unroll]] for (uint i = 0; i < BM * A_ITEMS; i += BLOCK_SIZE) {
        const uint at = i + gl_LocalInvocationIndex;
        if (BM * A_ITEMS % BLOCK_SIZE != 0 && at >= BM * A_ITEMS) {
            break;
        }
        const uint row = at / A_ITEMS;
        const uint item = at % A_ITEMS;
        const uint begin = min(m0 + row, p.M - 1) * (p.K / 32);
        ivec4 q[A_GIVES];
        a_stage(begin + block0, begin + end - 1, item, q);
        [[unroll]] for (uint j = 0; j < A_GIVES; ++j) {
            stage_a[A_PLANE(item, j) * STRIDE_A + row] = q[j];
        }
    }
    [[unroll]] for (uint i = 0; i < BM * STEP; i += BLOCK_SIZE) {
        const uint at = i + gl_LocalInvocationIndex;
        if (BM * STEP % BLOCK_SIZE != 0 && at >= BM * STEP) {
            break;
        }
        const uint row = at / STEP;
        const uint s = at % STEP;
        scale_a[s * BM + row] = a_scale(min(m0 + row, p.M - 1) * (p.K / 32) + min(block0 + s, end - 1));
    }
}

void stage_activations(uint n0, uint block0, uint end) {
    [[unroll]] for (uint i = 0; i < BN * STEP * 2; i += BLOCK_SIZE) {
        const uint at = i + gl_LocalInvocationIndex;
        if (BN * STEP * 2 % BLOCK_SIZE != 0 && at >= BN * STEP * 2) {
            break;
        }
        const uint column = at / (STEP * 2);
        const uint plane = at % (STEP * 2);
        stage_b[plane * STRIDE_B + column] = b_half(b_place(min(n0 + column, p.N - 1), min(block0 + plane / 2, end - 1)), plane & 1);
    }
    [[unroll]] for (uint i = 0; i < BN * STEP; i += BLOCK_SIZE) {
        const uint at = i + gl_LocalInvocationIndex;
        if (BN * STEP % BLOCK_SIZE != 0 && at >= BN * STEP) {
            break;
        }
        const uint column = at / STEP;
        const uint s = at % STEP;
        scale_b[s * BN + column] = b_scales(b_place(min(n0 + column, p.N - 1), min(block0 + s, end - 1)));
    }
}

float sums[ROWS * COLUMNS];

void main() {
    const uint m0 = gl_WorkGroupID.x * BM;
    const uint n0 = gl_WorkGroupID.y * BN;
    const uint warp = gl_LocalInvocationIndex / WARP;
    const uint lane = gl_LocalInvocationIndex % WARP;
    const uint warp_m = warp % (BM / WM) * WM + lane % LANES_M;
    const uint warp_n = warp / (BM / WM) * WN + lane / LANES_M;

    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; ++i) {
        sums[i] = 0.0;
    }

    const uint end = min(p.K, (gl_WorkGroupID.z + 1) * p.PART_K) / 32;
    for (uint block0 = gl_WorkGroupID.z * p.PART_K / 32; block0 < end; block0 += STEP) {
        stage_weights(m0, block0, end);
        stage_activations(n0, block0, end);
        barrier();

        const uint staged = ALIGNED ? STEP : min(STEP, end - block0);
        [[dont_unroll]] for (uint s = 0; s < staged; ++s) {
            ivec4 a0[ROWS], a1[ROWS];
            A_SCALE scale[ROWS];
            [[unroll]] for (uint i = 0; i < ROWS; ++i) {
                const uint row = warp_m + row_at(i);
                ivec4 q[A_CHUNKS];
                [[unroll]] for (uint c = 0; c < A_CHUNKS; ++c) {
                    q[c] = stage_a[(s * A_CHUNKS + c) * STRIDE_A + row];
                }
                a_unpack(q, a0[i], a1[i]);
                scale[i] = scale_a[s * BM + row];
            }
            [[unroll]] for (uint j = 0; j < COLUMNS; ++j) {
                const uint column = warp_n + column_at(j);
                const ivec4 b0 = stage_b[(s * 2) * STRIDE_B + column];
                const ivec4 b1 = stage_b[(s * 2 + 1) * STRIDE_B + column];
                const vec2 ds = unpackHalf2x16(scale_b[s * BN + column]);
                [[unroll]] for (uint i = 0; i < ROWS; ++i) {
                    sums[j * ROWS + i] += a_product(scale[i], a0[i], a1[i], b0, b1, ds);
                }
            }
        }
        barrier();
    }

    const uint part_of_d = gl_WorkGroupID.z * p.M * p.N;
    [[unroll]] for (uint j = 0; j < COLUMNS; ++j) {
        const uint n = n0 + warp_n + column_at(j);
        [[unroll]] for (uint i = 0; i < ROWS; ++i) {
            const uint m = m0 + warp_m + row_at(i);
            if (m < p.M && n < p.N) {
                result[part_of_d + n * p.M + m] = sums[j * ROWS + i];
            }
        }
    }
}
