// A workgroup's rows: from m0 on NUM_ROWS, or those that are left. Wants NUM_ROWS, NUM_COLS, BLOCK_SIZE, WARP, `p`, `result` and add_all.
// As in llama.cpp the code is there twice, for a count of rows that is known and for one that is not: what a compiler needs for the one
// that hardly ever runs, it needs for the whole pipeline. Barriers stand outside: behind a branch, even one that a workgroup takes as a
// whole, they crash lavapipe.
#define SUMS float[NUM_COLS][NUM_ROWS]
#ifndef ROWS_LEFT
#define ROWS_LEFT(rows) (rows)
#endif
#ifdef REDUCE_SUBGROUP
const uint PARTS = BLOCK_SIZE / WARP;
#else
const uint PARTS = BLOCK_SIZE;
#endif
shared float partial[NUM_COLS][NUM_ROWS][PARTS];

void add_all(inout SUMS sums, uint m0, uint rows);

// Each subgroup's or invocation's sums in `partial`; the results where a subgroup is all there is.
void sum(uint m0, uint rows) {
    SUMS sums; // a local that is passed on, as llama.cpp has it: a module that is not optimised keeps the calls
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
            sums[n][r] = 0.0;
        }
    }
    add_all(sums, m0, rows);
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        [[unroll]] for (uint r = 0; r < rows; ++r) {
#ifdef REDUCE_SUBGROUP
            sums[n][r] = subgroupAdd(sums[n][r]);
            if (PARTS == 1) {
                if (gl_LocalInvocationIndex == 0) {
                    result[n * p.M + m0 + r] = sums[n][r];
                }
            } else if (gl_SubgroupInvocationID == 0) {
                partial[n][r][gl_SubgroupID] = sums[n][r];
            }
#else
            partial[n][r][gl_LocalInvocationIndex] = sums[n][r];
#endif
        }
    }
}

// Where there are no subgroup operations: half of the invocations add what the other half has.
void halve(uint rows, uint width) {
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        [[unroll]] for (uint r = 0; r < rows; ++r) {
            partial[n][r][gl_LocalInvocationIndex] += partial[n][r][gl_LocalInvocationIndex + width];
        }
    }
}

// The results out of `partial`, by one invocation.
void store(uint m0, uint rows) {
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        [[unroll]] for (uint r = 0; r < rows; ++r) {
            float sum = partial[n][r][0];
#ifdef REDUCE_SUBGROUP
            [[unroll]] for (uint i = 1; i < PARTS; ++i) {
                sum += partial[n][r][i];
            }
#endif
            result[n * p.M + m0 + r] = sum;
        }
    }
}

void all_rows() {
    // Folded to y where the grid is wider than the device's limit.
    const uint m0 = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * NUM_ROWS;
    if (m0 >= p.M) {
        return;
    }
    const bool whole = m0 + NUM_ROWS <= p.M;
    if (whole) {
        sum(m0, NUM_ROWS);
    } else {
        sum(m0, ROWS_LEFT(p.M - m0));
    }
#ifdef REDUCE_SUBGROUP
    if (PARTS == 1) {
        return;
    }
#endif
    barrier();
#ifndef REDUCE_SUBGROUP
    [[unroll]] for (uint width = BLOCK_SIZE / 2; width > 0; width /= 2) {
        if (gl_LocalInvocationIndex < width) {
            if (whole) {
                halve(NUM_ROWS, width);
            } else {
                halve(p.M - m0, width);
            }
        }
        barrier();
    }
#endif
    if (gl_LocalInvocationIndex == 0) {
        if (whole) {
            store(m0, NUM_ROWS);
        } else {
            store(m0, p.M - m0);
        }
    }
}
