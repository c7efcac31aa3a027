// A workgroup's rows: from m0 on NUM_ROWS, or those that are left. Needs NUM_ROWS, NUM_COLS, BLOCK_SIZE, WARP, `p`, `result` and add_all.
// As in llama.cpp all code is there twice, for a count of rows that is known and for one that is not: registers that a compiler
// needs for the one that hardly ever runs, it needs for the whole pipeline.
#define SUMS float[NUM_COLS][NUM_ROWS]
#ifndef ROWS_LEFT
#define ROWS_LEFT(rows) (rows)
#endif
// A number for each invocation, as llama.cpp has it, where one for each subgroup would do: compilers give a workgroup that fills shared
// memory more registers (NVIDIA 580.159.04 has 40 for eight columns of f16 and spills into shared memory where there are four numbers to
// a row, and takes 133 us; with 128 it has 96).
#ifdef REDUCE_SUBGROUP
const bool ONE_SUBGROUP = BLOCK_SIZE <= WARP;
shared float partial[NUM_COLS][NUM_ROWS][ONE_SUBGROUP ? 1 : BLOCK_SIZE];
#else
shared float partial[NUM_COLS][NUM_ROWS][BLOCK_SIZE];
#endif

void add_all(inout SUMS sums, uint m0, uint rows);

// Adds up every invocation's `sums` over the workgroup and stores the results.
void reduce_and_store(inout SUMS sums, uint m0, uint rows) {
    const uint lane = gl_LocalInvocationIndex;
#ifdef REDUCE_SUBGROUP
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        [[unroll]] for (uint r = 0; r < rows; ++r) {
            sums[n][r] = subgroupAdd(sums[n][r]);
        }
    }
    if (!ONE_SUBGROUP) {
        if (gl_SubgroupInvocationID == 0) {
            [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
                [[unroll]] for (uint r = 0; r < rows; ++r) {
                    partial[n][r][gl_SubgroupID] = sums[n][r];
                }
            }
        }
        barrier();
    }
#else
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        [[unroll]] for (uint r = 0; r < rows; ++r) {
            partial[n][r][lane] = sums[n][r];
        }
    }
    barrier();
    [[unroll]] for (uint width = BLOCK_SIZE / 2; width > 0; width /= 2) {
        if (lane < width) {
            [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
                [[unroll]] for (uint r = 0; r < rows; ++r) {
                    partial[n][r][lane] += partial[n][r][lane + width];
                }
            }
        }
        barrier();
    }
#endif
    if (lane == 0) {
        [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
            [[unroll]] for (uint r = 0; r < rows; ++r) {
#ifdef REDUCE_SUBGROUP
                float sum = sums[n][r];
                if (!ONE_SUBGROUP) { // invocation 0 need not be in subgroup 0
                    sum = 0.0;
                    for (uint i = 0; i < gl_NumSubgroups; ++i) {
                        sum += partial[n][r][i];
                    }
                }
#else
                const float sum = partial[n][r][0];
#endif
                result[n * p.M + m0 + r] = sum;
            }
        }
    }
}

void some_rows(uint m0, uint rows) {
    SUMS sums; // a local that is passed on, as llama.cpp has it: a module that is not optimised keeps the calls
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
            sums[n][r] = 0.0;
        }
    }
    add_all(sums, m0, rows);
    reduce_and_store(sums, m0, rows);
}

void all_rows() {
    // Folded to y where the grid is wider than the device's limit.
    const uint m0 = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * NUM_ROWS;
    if (m0 + NUM_ROWS <= p.M) {
        some_rows(m0, NUM_ROWS);
    } else if (m0 < p.M) {
        some_rows(m0, ROWS_LEFT(p.M - m0));
    }
}
