#version 450
#include "../types/extensions.glsl"
#extension GL_EXT_integer_dot_product : require
#ifdef REDUCE_SUBGROUP
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif

// Constants, push constants and output as in gemv.comp.
layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint BLOCK_SIZE = 32;
layout(constant_id = 1) const uint NUM_ROWS = 1;
layout(constant_id = 2) const uint NUM_COLS = 1;
layout(constant_id = 3) const uint WARP = 32;
layout(constant_id = 4) const bool ALIGNED = true; // K is a multiple of 128
layout(binding = 2, std430) writeonly buffer Output { float result[]; };
layout(push_constant) uniform Problem { uint M; uint N; uint K; } p;
#include "../types/q8_1.glsl"
#include "intdot.glsl"

float sums[NUM_COLS][NUM_ROWS];
#include "reduce.glsl"

// Which part of a span an invocation has is the same in every step where a workgroup covers whole spans.
const uint PARTS_OF_SPAN = A_SPAN / A_ELEMENTS;
const bool SAME_PART = BLOCK_SIZE % PARTS_OF_SPAN == 0;

void accumulate(uint m0, uint i) {
    const uint span = i / PARTS_OF_SPAN;
    const uint part = (SAME_PART ? gl_LocalInvocationIndex : i) % PARTS_OF_SPAN;
    APart a[NUM_ROWS];
    [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
        // Rows beyond M repeat the last one: never read out of bounds, and their results are not stored.
        a[r] = a_part(min(m0 + r, p.M - 1) * (p.K / 32), span, part);
    }
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        const BPart b = b_part(n, span, part);
        [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
            sums[n][r] += part_product(a[r], b);
        }
    }
}

void main() {
    // Folded to y where the grid is wider than the device's limit.
    const uint m0 = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * NUM_ROWS;
    if (m0 >= p.M) {
        return;
    }
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
            sums[n][r] = 0.0;
        }
    }

    const uint parts = p.K / A_ELEMENTS;
    const uint whole = parts / BLOCK_SIZE;
    uint at = gl_LocalInvocationIndex;
    for (uint i = 0; i < whole; ++i, at += BLOCK_SIZE) {
        accumulate(m0, at);
    }
    if (at < parts) {
        accumulate(m0, at);
    }
    reduce_and_store(m0);
}
