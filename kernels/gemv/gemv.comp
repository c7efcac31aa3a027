#version 450
#include "../types/extensions.glsl"
#ifdef REDUCE_SUBGROUP
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif
#include "type.glsl"

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint BLOCK_SIZE = 32; // invocations
layout(constant_id = 1) const uint NUM_ROWS = 2;    // rows of A a workgroup computes
layout(constant_id = 2) const uint NUM_COLS = 1;    // N
layout(constant_id = 3) const uint WARP = 32;       // subgroup size
layout(constant_id = 4) const uint UNROLL = 4;      // steps along K at a time
layout(constant_id = 5) const bool ALIGNED = true;  // K is a multiple of 4

layout(binding = 1, std430) readonly buffer ActivationsV { vec4 activations_v[]; };
layout(binding = 1, std430) readonly buffer ActivationsP { vec2 activations_p[]; };
layout(binding = 1, std430) readonly buffer ActivationsS { float activations_s[]; };
layout(binding = 2, std430) writeonly buffer Output { float result[]; };
layout(push_constant) uniform Problem { uint M; uint N; uint K; } p;

#define SUMS float[NUM_COLS][NUM_ROWS]
#include "reduce.glsl"

// Rows beyond M repeat the last one: never read out of bounds, and their results are not stored.
uint row_of(uint m) { return min(m, p.M - 1); }

#if defined(A_SUB_BLOCKS)
#define A_SUPER
#define UNIT 256
#define LANES 8 // invocations to a super-block, a sub-block of 32 with one scale each

void accumulate(inout SUMS sums, uint m0, uint block, uint part) {
    [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
        const uint at = row_of(m0 + r) * (p.K / UNIT) + block;
        const float scale = a_sub_scale(at, part);
        float products[NUM_COLS];
        [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
            products[n] = 0.0;
        }
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            vec4 v[2];
            a_sub_load(at, part * 4 + i, v[0], v[1]);
            [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
                const uint at_b = (n * p.K + block * UNIT + part * 32) / 4 + i;
                const vec4 b[2] = {activations_v[at_b], activations_v[at_b + 4]};
                [[unroll]] for (uint j = 0; j < 8; ++j) {
                    products[n] = fma(b[j / 4][j % 4], v[j / 4][j % 4], products[n]);
                }
            }
        }
        [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
            sums[n][r] = fma(scale, products[n], sums[n][r]);
        }
    }
}
#elif defined(A_SUPER)
#define UNIT 256
#define LANES 16 // invocations to a super-block, sixteen elements each

void accumulate(inout SUMS sums, uint m0, uint block, uint part) {
    [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
        vec4 v[4], scale, offset;
        a_load16(row_of(m0 + r) * (p.K / UNIT) + block, part, v, scale, offset);
        [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
            vec4 products;
            float minima = 0.0;
            [[unroll]] for (uint i = 0; i < 4; ++i) {
                const uint at = n * p.K + block * UNIT + a_at(part, i);
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
#else
#define LANES 1

// Columns outermost, weights loaded for each of them: whether they are loaded and decoded once for all is the driver's compiler's to see.
#ifdef A_FLOAT
#define UNIT 4

void accumulate(inout SUMS sums, uint m0, uint piece, uint part) {
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        const vec4 b = activations_v[n * (p.K / 4) + piece];
        [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
            vec4 v;
            a_load4(row_of(m0 + r) * (p.K / UNIT) + piece, v);
            sums[n][r] += dot(v, b);
        }
    }
}
#else
#define UNIT 8

void accumulate(inout SUMS sums, uint m0, uint chunk, uint part) {
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        const vec4 b[2] = {activations_v[(n * p.K + a_first(chunk)) / 4], activations_v[(n * p.K + a_second(chunk)) / 4]};
        [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
            vec4 first, second;
            const vec2 scale = a_load8(row_of(m0 + r) * (p.K / UNIT) + chunk, first, second);
            sums[n][r] += scale.x * (dot(first, b[0]) + dot(second, b[1]));
        }
    }
}
#endif
#endif

void main() {
#ifdef A_TABLE
    a_init();
#endif
    // Folded to y where the grid is wider than the device's limit.
    const uint m0 = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * NUM_ROWS;
    if (m0 >= p.M) {
        return;
    }
    const uint lane = gl_LocalInvocationIndex;
    SUMS sums; // a local that is passed on, as llama.cpp has it: a module that is not optimised keeps the calls
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
            sums[n][r] = 0.0;
        }
    }

#ifdef A_FLOAT
    if (!ALIGNED) {
        for (uint k = lane; k < p.K; k += BLOCK_SIZE) {
            [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
                const float a = a_load1(min(m0 + r, p.M - 1) * p.K + k);
                [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
                    sums[n][r] = fma(a, activations_s[n * p.K + k], sums[n][r]);
                }
            }
        }
    } else
#endif
    {
        const uint units = p.K / UNIT;
        const uint step = BLOCK_SIZE / LANES;
        uint unit = lane / LANES;
#ifdef A_SUPER
        [[unroll]] for (; unit < units; unit += step) { // how far, as in llama.cpp, is the driver's compiler's to choose
            accumulate(sums, m0, unit, lane % LANES);
        }
#else
        // Some steps at a time, then two, then one.
        for (uint whole = units / (UNROLL * step); whole > 0; --whole) {
            [[unroll]] for (uint i = 0; i < UNROLL; ++i, unit += step) {
                accumulate(sums, m0, unit, 0);
            }
        }
        if (UNROLL > 2) {
            while (unit + step < units) {
                [[unroll]] for (uint i = 0; i < 2; ++i, unit += step) {
                    accumulate(sums, m0, unit, 0);
                }
            }
        }
        for (; unit < units; unit += step) {
            accumulate(sums, m0, unit, 0);
        }
#endif
    }
    reduce_and_store(sums, m0);
}
