// Sums over a workgroup of what each invocation has in `sums`, and the results stored from row m0 on.
#ifdef REDUCE_SUBGROUP
const uint PARTS = BLOCK_SIZE / WARP;
#else
const uint PARTS = BLOCK_SIZE;
#endif
shared float partial[NUM_COLS][NUM_ROWS][PARTS];

void reduce_and_store(inout SUMS sums, uint m0) {
    const uint lane = gl_LocalInvocationIndex;
#ifdef REDUCE_SUBGROUP
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
            sums[n][r] = subgroupAdd(sums[n][r]);
        }
    }
    if (PARTS > 1) {
        [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
            [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
                if (gl_SubgroupInvocationID == 0) {
                    partial[n][r][gl_SubgroupID] = sums[n][r];
                }
            }
        }
        barrier();
        if (lane == 0) {
            [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
                [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
                    sums[n][r] = partial[n][r][0]; // invocation 0 need not be in subgroup 0
                    [[unroll]] for (uint i = 1; i < PARTS; ++i) {
                        sums[n][r] += partial[n][r][i];
                    }
                }
            }
        }
    }
#else
    [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
        [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
            partial[n][r][lane] = sums[n][r];
        }
    }
    barrier();
    [[unroll]] for (uint width = BLOCK_SIZE / 2; width > 0; width /= 2) {
        if (lane < width) {
            [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
                [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
                    sums[n][r] += partial[n][r][lane + width];
                    partial[n][r][lane] = sums[n][r];
                }
            }
        }
        barrier();
    }
#endif

    if (lane == 0) {
        [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
            [[unroll]] for (uint r = 0; r < NUM_ROWS; ++r) {
                if (m0 + r < p.M) {
                    result[n * p.M + m0 + r] = sums[n][r];
                }
            }
        }
    }
}
