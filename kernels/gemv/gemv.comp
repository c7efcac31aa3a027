#version 450
#include "../types/extensions.glsl"
#ifdef REDUCE_SUBGROUP
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif
#define GEMV
#include "type.glsl"

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint BLOCK_SIZE = 32; // invocations
layout(constant_id = 1) const uint NUM_ROWS = 2;    // rows of A a workgroup computes
layout(constant_id = 2) const uint NUM_COLS = 1;    // N
layout(constant_id = 3) const uint WARP = 32;       // subgroup size
layout(constant_id = 4) const uint UNROLL = 4;      // steps along K at a time: four or one

layout(binding = 1, std430) readonly buffer ActivationsV { vec4 activations_v[]; };
layout(binding = 1, std430) readonly buffer ActivationsP { vec2 activations_p[]; };
layout(binding = 1, std430) readonly buffer ActivationsS { float activations_s[]; };
layout(binding = 2, std430) writeonly buffer Output { float result[]; };
// STRIDE_B: elements from a column of B to the next. It equals K, but is a number of its own as in llama.cpp: compilers don't know that.
layout(push_constant) uniform Problem { uint M; uint N; uint K; uint STRIDE_B; } p;

#if !defined(A_SUPER) && !defined(A_SUB_BLOCKS) && !defined(A_PAIRS)
#define ROWS_LEFT(rows) min(rows, NUM_ROWS) // a bound to unroll by, where llama.cpp's has one too
#endif
#include "rows.glsl"

// `accumulate` takes a step along K: it adds to the sums of `rows` rows from m0 on and all columns.
#if defined(A_PAIRS)
#include "pairs.glsl"
#elif defined(A_SUB_BLOCKS)
#define A_SUPER
#define UNIT 256
#define LANES 8 // invocations to a super-block, a sub-block of 32 with one scale each

void accumulate(inout SUMS sums, uint m0, uint rows, uint block) {
    const uint part = gl_LocalInvocationIndex % LANES;
    [[unroll]] for (uint r = 0; r < rows; ++r) {
        const uint at = (m0 + r) * (p.K / UNIT) + block;
        const float scale = a_sub_scale(at, part);
        float products[NUM_COLS];
        [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
            products[n] = 0.0;
        }
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            const uint codes = a_sub_codes(at, part * 4 + i);
            [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) { // numbers looked up for each column, as in llama.cpp
                const uint at_b = (n * p.STRIDE_B + block * UNIT + part * 32) / 4 + i;
                const vec4 b[2] = {activations_v[at_b], activations_v[at_b + 4]};
                const vec4 v[2] = {a_looked_up(codes & 0x0F0F0F0Fu), a_looked_up((codes >> 4) & 0x0F0F0F0Fu)};
                [[unroll]] for (uint j = 8; j-- > 0;) {
                    products[n] = fma(b[j / 4][j % 4], v[j / 4][j % 4], products[n]);
                }
            }
        }
        [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
            sums[n][r] = fma(scale, products[n], sums[n][r]);
        }
    }
}
#elif defined(A_SHARED_SCALES)
#define UNIT 256
#define LANES 16 // invocations to a super-block, sixteen elements each

// Each invocation loads one of a super-block's scales and uses four. A row's are in one half while the next row's go into the other, so
// that one barrier is enough.
shared float scales[2][BLOCK_SIZE / LANES][LANES];
uint side = 0;

// `whole`: every invocation has a super-block; else some may be beyond the row's last one.
void accumulate(inout SUMS sums, uint m0, uint rows, uint block, bool whole) {
    const uint part = gl_LocalInvocationIndex % LANES;
    const uint own = gl_LocalInvocationIndex / LANES;
    [[unroll]] for (uint r = 0; r < rows; ++r) {
        const uint at = (m0 + r) * (p.K / UNIT) + block;
        side ^= 1;
        if (!whole) {
            if (block < p.K / UNIT) {
                scales[side][own][part] = a_scale(at, part);
            }
            barrier();
            if (block >= p.K / UNIT) {
                continue;
            }
        }
        vec4 v[4];
        a_load16(at, part, v);
        if (whole) {
            scales[side][own][part] = a_scale(at, part);
            barrier();
        }
        const float d = a_super_scale(at);
        [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
            vec4 b[4];
            [[unroll]] for (uint i = 0; i < 4; ++i) {
                b[i] = activations_v[(n * p.STRIDE_B + block * UNIT + a_at(part, i)) / 4];
            }
            vec4 products = vec4(0.0);
            [[unroll]] for (uint e = 0; e < 4; ++e) {
                [[unroll]] for (uint i = 0; i < 4; ++i) {
                    products[i] = fma(b[i][e], v[i][e], products[i]);
                }
            }
            float sum = products[3] * scales[side][own][a_scale_of(part, 3)];
            [[unroll]] for (uint i = 3; i-- > 0;) {
                sum = fma(products[i], scales[side][own][a_scale_of(part, i)], sum);
            }
            sums[n][r] = fma(sum, d, sums[n][r]);
        }
    }
}
#elif defined(A_SUPER)
#define UNIT 256
#define LANES 16 // invocations to a super-block, sixteen elements each

void accumulate(inout SUMS sums, uint m0, uint rows, uint block) {
    const uint part = gl_LocalInvocationIndex % LANES;
    [[unroll]] for (uint r = 0; r < rows; ++r) {
        vec4 v[4], scale, offset;
        a_load16((m0 + r) * (p.K / UNIT) + block, part, v, scale, offset);
        [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
            vec4 products;
            float minima = 0.0;
            [[unroll]] for (uint i = 0; i < 4; ++i) {
                const uint at = n * p.STRIDE_B + block * UNIT + a_at(part, i);
#ifdef A_APART16
                const vec4 b = vec4(activations_p[at / 2], activations_p[at / 2 + 8]);
                minima += offset[i] * (b.x + b.y + b.z + b.w);
#else
                const vec4 b = activations_v[at / 4];
                minima += dot(b, vec4(offset[i])); // element by element, as llama.cpp has it
#endif
                products[i] = dot(v[i], b);
            }
            // One addition to the sum: those of all columns and rows wait for nothing but their own products.
#ifdef A_MIN
            sums[n][r] += dot(scale, products) - minima;
#else
            sums[n][r] += dot(scale, products);
#endif
        }
    }
}
#elif defined(A_FLOAT)
// Columns outermost, weights loaded for each of them: the driver's compiler may load and decode them once for all.
// Elements are counted, and each load divides what it is given, as in llama.cpp: where compilers keep the division, that takes time.
#define UNIT 4

void accumulate(inout SUMS sums, uint m0, uint rows, uint piece) {
    const uint k = piece * 4;
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        const vec4 b = activations_v[(n * p.STRIDE_B + k) / 4];
        [[unroll]] for (uint r = 0; r < rows; ++r) {
            const vec4 v = a_load2x2((m0 + r) * p.K + k);
            sums[n][r] += dot(v, b);
        }
    }
}

// Where K is no multiple of four: single loads, and in a step that is the last of some invocation no more than there are.
vec4 loaded(uint at, uint count) {
    vec4 b = vec4(activations_s[at], 0.0, 0.0, 0.0);
    if (count > 1) {
        b.y = activations_s[at + 1];
    }
    if (count > 2) {
        b.z = activations_s[at + 2];
    }
    if (count > 3) {
        b.w = activations_s[at + 3];
    }
    return b;
}

void accumulate_ragged(inout SUMS sums, uint m0, uint rows, uint piece, bool last) {
    const uint k = piece * 4;
    const uint count = last ? min(p.K - k, 4) : 4;
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        const vec4 b = loaded(n * p.STRIDE_B + k, count);
        [[unroll]] for (uint r = 0; r < rows; ++r) {
            const uint at = (m0 + r) * p.K + k;
            if (count > 3) {
                sums[n][r] += dot(vec4(a_load1(at), a_load1(at + 1), a_load1(at + 2), a_load1(at + 3)), b);
            } else if (count > 2) {
                sums[n][r] += dot(vec3(a_load1(at), a_load1(at + 1), a_load1(at + 2)), b.xyz);
            } else if (count > 1) {
                sums[n][r] += dot(vec2(a_load1(at), a_load1(at + 1)), b.xy);
            } else {
                sums[n][r] = fma(a_load1(at), b.x, sums[n][r]);
            }
        }
    }
}
#else
// Columns outermost, as of floats.
#define UNIT 8

void accumulate(inout SUMS sums, uint m0, uint rows, uint chunk) {
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        const vec4 b[2] = {activations_v[(n * p.STRIDE_B + a_first(chunk)) / 4], activations_v[(n * p.STRIDE_B + a_second(chunk)) / 4]};
        [[unroll]] for (uint r = 0; r < rows; ++r) {
            vec4 first, second;
            const vec2 scale = a_load8((m0 + r) * (p.K / UNIT) + chunk, first, second);
            sums[n][r] += scale.x * (dot(first, b[0]) + dot(second, b[1]));
        }
    }
}
#endif

#ifndef A_SUPER
// Number of a row's units that an invocation takes.
uint steps_of(uint lane, uint units) { return units / BLOCK_SIZE + uint(lane < units % BLOCK_SIZE); }
#endif

void add_all(inout SUMS sums, uint m0, uint rows) {
    const uint lane = gl_LocalInvocationIndex;
#if defined(A_SHARED_SCALES)
    const uint each = BLOCK_SIZE / LANES; // super-blocks of a step
    const uint whole = p.K / UNIT - p.K / UNIT % each;
    uint first = 0;
    [[unroll]] for (; first < whole; first += each) {
        accumulate(sums, m0, rows, first + lane / LANES, true);
    }
    accumulate(sums, m0, rows, first + lane / LANES, false);
#elif defined(A_SUPER)
    // The driver's compiler chooses how far it is unrolled, as in llama.cpp.
    [[unroll]] for (uint block = lane / LANES; block < p.K / UNIT; block += BLOCK_SIZE / LANES) {
        accumulate(sums, m0, rows, block);
    }
#else
    // Some steps at a time, then two, then one. The loops count an invocation's own steps: compilers make something else of a shared count.
    uint i = 0;
#ifdef A_FLOAT
    // Each loop asks first whether K is ragged, as in llama.cpp: both kinds of loop take turns on one array of sums, and where a
    // compiler keeps it in memory for one kind, it does for the other too. The last step of a ragged K is taken alone.
    const bool ragged = p.K % 4 != 0 || p.STRIDE_B % 4 != 0;
    const uint steps = steps_of(lane, (p.K + 3) / 4);
    uint end = steps - steps % UNROLL;
    if (ragged && end == steps && end > 0) {
        end -= UNROLL;
    }
    if (ragged) {
        while (i < end) {
            [[unroll]] for (uint j = 0; j < UNROLL; ++j, ++i) {
                accumulate_ragged(sums, m0, rows, lane + i * BLOCK_SIZE, false);
            }
        }
    } else {
        while (i < end) {
            [[unroll]] for (uint j = 0; j < UNROLL; ++j, ++i) {
                accumulate(sums, m0, rows, lane + i * BLOCK_SIZE);
            }
        }
    }
    if (UNROLL > 1) {
        end = steps - steps % 2;
        if (ragged && end == steps && end > 0) {
            end -= 2;
        }
        if (ragged) {
            while (i < end) {
                [[unroll]] for (uint j = 0; j < 2; ++j, ++i) {
                    accumulate_ragged(sums, m0, rows, lane + i * BLOCK_SIZE, false);
                }
            }
        } else {
            while (i < end) {
                [[unroll]] for (uint j = 0; j < 2; ++j, ++i) {
                    accumulate(sums, m0, rows, lane + i * BLOCK_SIZE);
                }
            }
        }
    }
    if (ragged) {
        while (i < steps) {
            accumulate_ragged(sums, m0, rows, lane + i * BLOCK_SIZE, true);
            ++i;
        }
    } else {
        while (i < steps) {
            accumulate(sums, m0, rows, lane + i * BLOCK_SIZE);
            ++i;
        }
    }
#else
    const uint steps = steps_of(lane, p.K / UNIT);
    while (i + UNROLL <= steps) {
        [[unroll]] for (uint j = 0; j < UNROLL; ++j, ++i) {
            accumulate(sums, m0, rows, lane + i * BLOCK_SIZE);
        }
    }
    while (UNROLL > 1 && i + 2 <= steps) {
        [[unroll]] for (uint j = 0; j < 2; ++j, ++i) {
            accumulate(sums, m0, rows, lane + i * BLOCK_SIZE);
        }
    }
    while (i < steps) {
        accumulate(sums, m0, rows, lane + i * BLOCK_SIZE);
        ++i;
    }
#endif
#endif
}

void main() {
#ifdef A_TABLE
    a_init();
#endif
    all_rows();
}
