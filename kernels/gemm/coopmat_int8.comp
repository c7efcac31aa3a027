#version 450
// D[n][m] = sum over k of A[m][k] * B[n][k] with q8_1 activations and cooperative matrices of int8 with s32 sums: a matrix product for each
// block of 32 along K, whose elements are then scaled and added in f32, where an invocation knows the row and column of each of its elements.
#include "../types/extensions.glsl"
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require

// Constants, push constants and output as in stage.glsl.
layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint BLOCK_SIZE = 512;
layout(constant_id = 1) const uint BM = 128;
layout(constant_id = 2) const uint BN = 128;
layout(constant_id = 4) const uint WM = 32;
layout(constant_id = 5) const uint WN = 32;
layout(constant_id = 7) const uint TM = 16;
layout(constant_id = 8) const uint TN = 16;
layout(constant_id = 9) const uint TK = 16;
layout(constant_id = 10) const uint WARP = 32;
layout(constant_id = 11) const uint LAYOUT = 0; // where an accumulator's elements are
layout(binding = 2, std430) writeonly buffer Output { float result[]; };
layout(push_constant) uniform Problem { uint M; uint N; uint K; uint PART_K; } p;
#include "../types/q8_1.glsl"
#define INT8_MATRIX
#include "int8.glsl"

#define INTERLEAVED 0u // RDNA3: element e of an invocation is 2 rows further down than e - 1
#define BLOCKED 1u     // RDNA4: it is the next row
#define LOOKED_UP 2u   // any other: a matrix of positions is loaded to find them

#define STEP 4 // blocks of 32 along K that are staged at once
#ifdef A_TWO_SCALES
#define SCALES 2 // of a block
#else
#define SCALES 1
#endif
#ifndef A_PANEL_BYTES
#define A_PANEL_BYTES(elements) ((elements) + (elements) / 16)
#endif

const uint PITCH = STEP * 8 + 4; // words of a row, padded against bank conflicts
shared uint stage_a[BM * PITCH];
shared uint stage_b[BN * PITCH];
#ifdef A_OFFSET
shared vec2 scales_a[STEP * BM];
shared float sums_b[STEP * BN];
#else
shared float scales_a[STEP * SCALES * BM];
#endif
shared float scales_b[STEP * BN];

const uint ROWS = WM / TM; // cooperative matrices a subgroup holds
const uint COLUMNS = WN / TN;
const uint PARTS = 32 / TK; // along K of a block
const uint ELEMENTS = TM * TN / WARP; // of a matrix, in an invocation

#define MATRIX_A coopmat<int8_t, gl_ScopeSubgroup, TM, TK, gl_MatrixUseA>
#define MATRIX_B coopmat<int8_t, gl_ScopeSubgroup, TK, TN, gl_MatrixUseB>
#define MATRIX_D coopmat<int, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator>

// Without subgroups of 32 the integer sums begin at the bits of 1.5 * 2^23: read as f32 they then are that number plus the sum, so that one
// fma with `scale` and -1.5 * 2^23 * scale converts and scales at once.
const bool BIASED = WARP != 32;
const int BIAS_BITS = 0x4B400000;
#define BIAS 12582912.0

uint positions[ELEMENTS];

uint row_of(uint e) {
    const uint half_of = gl_SubgroupInvocationID / TN;
    return LAYOUT == LOOKED_UP ? positions[e] / TN : LAYOUT == BLOCKED ? e + half_of * ELEMENTS : half_of + 2 * e;
}
uint column_of(uint e) { return LAYOUT == LOOKED_UP ? positions[e] % TN : gl_SubgroupInvocationID % TN; }

float added(float before, int sum, float scale_a, float scale_b, float offset) {
    if (BIASED) {
        return fma(fma(intBitsToFloat(sum), scale_a, -BIAS * scale_a), scale_b, before + offset);
    }
    return before + fma(float(sum) * scale_a, scale_b, offset);
}

MATRIX_A load_a(uint row, uint s, uint part) {
    MATRIX_A a;
    coopMatLoad(a, stage_a, row * PITCH + s * 8 + part * (TK / 4), PITCH, gl_CooperativeMatrixLayoutRowMajor);
    return a;
}

MATRIX_B load_b(uint column, uint s, uint part) {
    MATRIX_B b;
    coopMatLoad(b, stage_b, column * PITCH + s * 8 + part * (TK / 4), PITCH, gl_CooperativeMatrixLayoutColumnMajor);
    return b;
}

// An invocation fetches this ahead for the next step, into registers: pieces of A's blocks and halves of B's.
const uint STRIDE_A = BLOCK_SIZE / A_LOADERS;
const uint STRIDE_B = BLOCK_SIZE / 2;
const uint LOADS_A = (BM + STRIDE_A - 1) / STRIDE_A;
const uint LOADS_B = (BN + STRIDE_B - 1) / STRIDE_B;
Piece ahead_a[LOADS_A * STEP];
ivec4 ahead_b[LOADS_B * STEP];
uint ahead_scales_b[LOADS_B * STEP];

// `first_a` and `first_b` are the blocks of the tile's first rows. As in intdot.comp rows beyond M or N are not checked, nor are A's blocks
// beyond the end of K: B's are staged as zeros there.
void fetch(uint first_a, uint first_b, uint block0, uint end) {
    const uint item_a = gl_LocalInvocationIndex % A_LOADERS;
    const uint row0 = gl_LocalInvocationIndex / A_LOADERS;
    [[unroll]] for (uint i = 0; i < LOADS_A; ++i) {
        const uint row = row0 + i * STRIDE_A;
        if (row < BM) {
            const uint block = first_a + row * p.K / 32;
            [[unroll]] for (uint s = 0; s < STEP; ++s) {
                ahead_a[i * STEP + s] = a_fetch(block + s, item_a);
            }
        }
    }
    const uint item_b = gl_LocalInvocationIndex % 2;
    const uint column0 = gl_LocalInvocationIndex / 2;
    [[unroll]] for (uint i = 0; i < LOADS_B; ++i) {
        const uint column = column0 + i * STRIDE_B;
        if (column < BN) {
            const uint block = first_b + column * p.K / 32;
            [[unroll]] for (uint s = 0; s < STEP; ++s) {
                const uint at = block0 + s < end ? block + s : block;
                ahead_b[i * STEP + s] = b_half(at, item_b);
                ahead_scales_b[i * STEP + s] = b_scales(at);
            }
        }
    }
}

void stage(uint first_a, uint block0, uint end) {
    const uint item_a = gl_LocalInvocationIndex % A_LOADERS;
    const uint row0 = gl_LocalInvocationIndex / A_LOADERS;
    [[unroll]] for (uint i = 0; i < LOADS_A; ++i) {
        const uint row = row0 + i * STRIDE_A;
        if (row < BM) {
            const uint block = first_a + row * p.K / 32;
            [[unroll]] for (uint s = 0; s < STEP; ++s) {
                const uvec2 codes = a_codes(ahead_a[i * STEP + s]);
                const uint at = row * PITCH + s * 8;
                stage_a[at + A_AT(item_a)] = codes.x;
#if A_APART != 0
                stage_a[at + A_AT(item_a) + A_APART] = codes.y;
#endif
                if (item_a == 0) {
                    const vec2 scales = piece_scales(ahead_a[i * STEP + s], block + s);
#if defined(A_OFFSET)
                    scales_a[s * BM + row] = scales;
#elif defined(A_TWO_SCALES)
                    scales_a[s * 2 * BM + row] = scales.x;
                    scales_a[(s * 2 + 1) * BM + row] = scales.y;
#else
                    scales_a[s * BM + row] = scales.x;
#endif
                }
            }
        }
    }
    const uint item_b = gl_LocalInvocationIndex % 2;
    const uint column0 = gl_LocalInvocationIndex / 2;
    [[unroll]] for (uint i = 0; i < LOADS_B; ++i) {
        const uint column = column0 + i * STRIDE_B;
        if (column < BN) {
            [[unroll]] for (uint s = 0; s < STEP; ++s) {
                const bool inside = block0 + s < end;
                const ivec4 codes = inside ? ahead_b[i * STEP + s] : ivec4(0);
                const uint at = column * PITCH + s * 8 + item_b * 4;
                [[unroll]] for (uint j = 0; j < 4; ++j) {
                    stage_b[at + j] = uint(codes[j]);
                }
                if (item_b == 0) {
                    const vec2 ds = inside ? unpackHalf2x16(ahead_scales_b[i * STEP + s]) : vec2(0.0);
                    scales_b[s * BN + column] = ds.x;
#ifdef A_OFFSET
                    sums_b[s * BN + column] = ds.y;
#endif
                }
            }
        }
    }
}

float sums[ROWS * COLUMNS * ELEMENTS];

// One block along K of a subgroup's tile, which begins with row m and column n of the workgroup's.
void multiply(uint s, uint m, uint n) {
#ifdef A_TWO_SCALES
    [[unroll]] for (uint part = 0; part < PARTS; ++part) {
        [[unroll]] for (uint r = 0; r < ROWS; ++r) {
            const MATRIX_A a = load_a(m + r * TM, s, part);
            float scale_a[ELEMENTS];
            [[unroll]] for (uint e = 0; e < ELEMENTS; ++e) {
                scale_a[e] = scales_a[(s * 2 + part * TK / 16) * BM + m + r * TM + row_of(e)];
            }
            [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
                const uint first_scale = s * BN + n + c * TN;
                const MATRIX_B b = load_b(n + c * TN, s, part);
                const float scale_b = scales_b[first_scale + column_of(0)];
                MATRIX_D d = MATRIX_D(BIASED ? BIAS_BITS : 0);
                d = coopMatMulAdd(a, b, d);
                [[unroll]] for (uint e = 0; e < ELEMENTS; ++e) {
                    const uint at = (r * COLUMNS + c) * ELEMENTS + e;
                    const float of_column = LAYOUT == LOOKED_UP ? scales_b[first_scale + column_of(e)] : scale_b;
                    sums[at] = added(sums[at], d[e], scale_a[e], of_column, 0.0);
                }
            }
        }
    }
#else
    MATRIX_A a[ROWS * PARTS];
    MATRIX_B b[COLUMNS * PARTS];
    [[unroll]] for (uint r = 0; r < ROWS; ++r) {
        [[unroll]] for (uint part = 0; part < PARTS; ++part) {
            a[r * PARTS + part] = load_a(m + r * TM, s, part);
        }
    }
    [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
        [[unroll]] for (uint part = 0; part < PARTS; ++part) {
            b[c * PARTS + part] = load_b(n + c * TN, s, part);
        }
    }
    float scale_b[COLUMNS];
    float sum_b[COLUMNS];
    [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
        scale_b[c] = scales_b[s * BN + n + c * TN + column_of(0)];
#ifdef A_OFFSET
        sum_b[c] = sums_b[s * BN + n + c * TN + column_of(0)];
#endif
    }
    [[unroll]] for (uint r = 0; r < ROWS; ++r) {
        float scale_a[ELEMENTS];
        float offset_a[ELEMENTS];
        [[unroll]] for (uint e = 0; e < ELEMENTS; ++e) {
#ifdef A_OFFSET
            const vec2 scales = scales_a[s * BM + m + r * TM + row_of(e)];
            scale_a[e] = scales.x;
            offset_a[e] = scales.y;
#else
            scale_a[e] = scales_a[s * BM + m + r * TM + row_of(e)];
#endif
        }
        [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
            MATRIX_D d = MATRIX_D(BIASED ? BIAS_BITS : 0);
            [[unroll]] for (uint part = 0; part < PARTS; ++part) {
                d = coopMatMulAdd(a[r * PARTS + part], b[c * PARTS + part], d);
            }
            [[unroll]] for (uint e = 0; e < ELEMENTS; ++e) {
                const uint at = (r * COLUMNS + c) * ELEMENTS + e;
                const uint in_b = s * BN + n + c * TN + column_of(e);
                const float scale = LAYOUT == LOOKED_UP ? scales_b[in_b] : scale_b[c];
#ifdef A_OFFSET
                const float offset = offset_a[e] * (LAYOUT == LOOKED_UP ? sums_b[in_b] : sum_b[c]);
#else
                const float offset = 0.0;
#endif
                sums[at] = added(sums[at], d[e], scale_a[e], scale, offset);
            }
        }
    }
#endif
}

void look_up_positions() {
    for (uint i = gl_LocalInvocationIndex; i < TM * TN; i += BLOCK_SIZE) {
        stage_a[i] = i;
    }
    barrier();
    MATRIX_D d;
    coopMatLoad(d, stage_a, 0, TN, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint e = 0; e < ELEMENTS; ++e) {
        positions[e] = uint(d[e]);
    }
    barrier();
}

void main() {
#ifdef A_TABLE
    a_init();
#endif
    if (LAYOUT == LOOKED_UP) {
        look_up_positions();
    }
    // Tiles are taken in groups of rows whose weights fill no more than 16 MiB, column after column, so that they are read from a cache.
    const uint tiles_m = gl_NumWorkGroups.x;
    const uint tiles_n = gl_NumWorkGroups.y;
    const uint group_m = clamp(16u * 1024u * 1024u / max(A_PANEL_BYTES(BM * p.K), 1u), 1u, min(tiles_m, 32u));
    const uint tile = gl_WorkGroupID.y * tiles_m + gl_WorkGroupID.x;
    const uint group = tile / (group_m * tiles_n);
    const uint rows_of_group = min(tiles_m - group * group_m, group_m);
    const uint in_group = tile - group * group_m * tiles_n;
    const uint m0 = (group * group_m + in_group % rows_of_group) * BM;
    const uint n0 = in_group / rows_of_group * BN;
    const uint warp_m = gl_SubgroupID % (BM / WM) * WM;
    const uint warp_n = gl_SubgroupID / (BM / WM) * WN;

    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS * ELEMENTS; ++i) {
        sums[i] = 0.0;
    }

    const uint begin = gl_WorkGroupID.z * p.PART_K / 32;
    const uint end = min(p.K, (gl_WorkGroupID.z + 1) * p.PART_K) / 32;
    uint first_a = m0 * (p.K / 32) + begin;
    uint first_b = n0 * (p.K / 32) + begin;
    if (begin < end) {
        fetch(first_a, first_b, begin, end);
    }
    barrier();
    for (uint block0 = begin; block0 < end; block0 += STEP) {
        stage(first_a, block0, end);
        barrier();
        first_a += STEP;
        first_b += STEP;
        if (block0 + STEP < end) {
            fetch(first_a, first_b, block0 + STEP, end);
        }
        if (n0 + warp_n < p.N) {
            [[unroll]] for (uint s = 0; s < STEP; ++s) {
                multiply(s, warp_m, warp_n);
            }
        }
        barrier();
    }

    const uint part_of_d = gl_WorkGroupID.z * p.M * p.N;
    [[unroll]] for (uint r = 0; r < ROWS; ++r) {
        [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
            [[unroll]] for (uint e = 0; e < ELEMENTS; ++e) {
                const uint m = m0 + warp_m + r * TM + row_of(e);
                const uint n = n0 + warp_n + c * TN + column_of(e);
                if (m < p.M && n < p.N) {
                    result[part_of_d + n * p.M + m] = sums[(r * COLUMNS + c) * ELEMENTS + e];
                }
            }
        }
    }
}
