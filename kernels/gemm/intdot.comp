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
layout(binding = 2, std430) writeonly buffer Output { float result[]; };
layout(push_constant) uniform Problem { uint M; uint N; uint K; uint PART_K; } p;
#include "../types/q8_1.glsl"
#define GEMM
#include "intdot.glsl"

#define STEP 4 // blocks of 32 along K that are staged at once

struct A {
    int q[A_WORDS];
    A_SCALE scale;
};
struct B {
    int q[8];
    uint scales;
};
shared A stage_a[STEP * BM];
shared B stage_b[STEP * BN];

// A subgroup covers WM x WN in WMITER x WNITER steps of WSUBM x WSUBN; in each, every invocation has TM x TN results side by side.
const uint WNITER = (WM * WN) / (WARP * TM * TN * WMITER);
const uint WSUBM = WM / WMITER;
const uint WSUBN = WN / WNITER;
const uint LANES_M = WSUBM / TM;
const uint ROWS = WMITER * TM; // of an invocation
const uint COLUMNS = WNITER * TN;

uint row_at(uint i) { return i / TM * WSUBM + i % TM; }
uint column_at(uint i) { return i / TN * WSUBN + i % TN; }

// `first` is the block of the tile's first row; as in stage.glsl rows lie at offsets that don't change, and those beyond M or N are not
// checked. The loops have the shapes of llama.cpp's, on which it depends what compilers unroll: an invocation's own row in the condition,
// each block's loads behind a branch even where rows are whole steps, and blocks beyond the end as zeros of B, with what A's rows had a
// step before, instead of a shorter loop over what was staged.
void stage_weights(uint first, uint block0, uint end) {
    const uint item = gl_LocalInvocationIndex % A_ITEMS;
    const uint row0 = gl_LocalInvocationIndex / A_ITEMS;
    [[unroll]] for (uint i = 0; row0 + i < BM; i += BLOCK_SIZE / A_ITEMS) {
        const uint block = first + (row0 + i) * p.K / 32;
        [[unroll]] for (uint s = 0; s < STEP; ++s) {
            const uint at = s * BM + row0 + i;
            if (block0 + s < end) {
#ifdef A_STAGES_PAIRS
                const ivec2 q = a_pair(block + s, item);
                stage_a[at].q[item] = q.x;
                stage_a[at].q[item + 4] = q.y;
#else
                stage_a[at].q[item] = a_staged(block + s, item);
#endif
                if (item == 0) {
                    stage_a[at].scale = a_scale(block + s);
                }
            }
        }
    }
}

void put_half(uint at, uint item, ivec4 q) {
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        stage_b[at].q[item * 4 + j] = q[j];
    }
}

void stage_activations(uint first, uint block0, uint end) {
    const uint item = gl_LocalInvocationIndex % 2;
    const uint column0 = gl_LocalInvocationIndex / 2;
    [[unroll]] for (uint i = 0; column0 + i < BN; i += BLOCK_SIZE / 2) {
        const uint block = first + (column0 + i) * p.K / 32;
        [[unroll]] for (uint s = 0; s < STEP; ++s) {
            const uint at = s * BN + column0 + i;
            if (block0 + s < end) {
                if (item == 0) {
                    stage_b[at].scales = b_scales(block + s);
                }
                put_half(at, item, b_half(block + s, item));
            } else {
                if (item == 0) {
                    stage_b[at].scales = 0;
                }
                put_half(at, item, ivec4(0));
            }
        }
    }
}

float sums[ROWS * COLUMNS];

void main() {
#ifdef A_TABLE
    a_init();
#endif
    const uint m0 = gl_WorkGroupID.x * BM;
    const uint n0 = gl_WorkGroupID.y * BN;
    const uint warp = gl_LocalInvocationIndex / WARP;
    const uint lane = gl_LocalInvocationIndex % WARP;
    const uint warp_m = warp % (BM / WM) * WM + lane % LANES_M * TM;
    const uint warp_n = warp / (BM / WM) * WN + lane / LANES_M * TN;

    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; ++i) {
        sums[i] = 0.0;
    }

    const uint begin = gl_WorkGroupID.z * p.PART_K / 32;
    const uint end = min(p.K, (gl_WorkGroupID.z + 1) * p.PART_K) / 32;
    if (end - begin < STEP) { // no step before: what is in shared memory may be no number, which zeros of B would not take away
        for (uint i = gl_LocalInvocationIndex; i < STEP * BM; i += BLOCK_SIZE) {
            stage_a[i].scale = A_SCALE(0.0);
        }
        barrier();
    }
    uint first_a = m0 * (p.K / 32) + begin;
    uint first_b = n0 * (p.K / 32) + begin;
    for (uint block0 = begin; block0 < end; block0 += STEP) {
        stage_weights(first_a, block0, end);
        stage_activations(first_b, block0, end);
        barrier();
        first_a += STEP;
        first_b += STEP;

        for (uint s = 0; s < STEP; ++s) {
            A a[ROWS];
            [[unroll]] for (uint i = 0; i < ROWS; ++i) {
                a[i] = stage_a[s * BM + warp_m + row_at(i)];
            }
            [[unroll]] for (uint j = 0; j < COLUMNS; ++j) {
                const B b = stage_b[s * BN + warp_n + column_at(j)];
                [[unroll]] for (uint i = 0; i < ROWS; ++i) {
                    sums[j * ROWS + i] += a_product(a[i].q, a[i].scale, b.q, unpackHalf2x16(b.scales));
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
