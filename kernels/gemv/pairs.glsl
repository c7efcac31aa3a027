// q2_k and q3_k: a step of the GEMV along K. An invocation takes sixteen elements of a super-block: two neighbours from each of eight
// sub-blocks of sixteen. Each invocation loads one of a super-block's scales, with its minimum where there is one, and uses eight. A row's
// are in one half of shared memory while the next row's go into the other, so that one barrier is enough.
#define A_SUPER
#define A_SHARED_SCALES // the loop over super-blocks below is theirs too
#define UNIT 256
#define LANES 16

shared float scales[2][BLOCK_SIZE / LANES][LANES];
#ifdef A_MIN
shared float minima[2][BLOCK_SIZE / LANES][LANES];
#endif
uint side = 0;

void put_scale(uint at, uint own, uint part) {
#ifdef A_MIN
    const vec2 scale = a_scale(at, part);
    scales[side][own][part] = scale.x;
    minima[side][own][part] = scale.y;
#else
    scales[side][own][part] = a_scale(at, part);
#endif
}

// `whole`: every invocation has a super-block; else some may be beyond the row's last one.
void accumulate(inout SUMS sums, uint m0, uint rows, uint block, bool whole) {
    const uint part = gl_LocalInvocationIndex % LANES;
    const uint own = gl_LocalInvocationIndex / LANES;
    const uint first = part / 8 * 8; // of its scales
    [[unroll]] for (uint r = 0; r < rows; ++r) {
        const uint at = (m0 + r) * (p.K / UNIT) + block;
        side ^= 1;
        if (!whole) {
            if (block < p.K / UNIT) {
                put_scale(at, own, part);
            }
            barrier();
            if (block >= p.K / UNIT) {
                continue;
            }
        }
        vec2 v[8];
#ifdef A_MIN
        if (whole) {
            put_scale(at, own, part);
            barrier();
        }
        a_load_pairs(at, part, v);
#else
        a_load_pairs(at, part, v);
        if (whole) {
            put_scale(at, own, part);
            barrier();
        }
#endif
        [[unroll]] for (uint n = 0; n < NUM_COLS; ++n) {
            const uint at_b = (n * p.STRIDE_B + block * UNIT + part / 8 * 128 + part % 8 * 2) / 2;
            vec2 b[8];
            [[unroll]] for (uint i = 0; i < 8; ++i) {
                b[i] = activations_p[at_b + i * 8];
            }
            float sum = 0.0;
#ifdef A_MIN
            float offset = 0.0;
#endif
            [[unroll]] for (uint e = 0; e < 2; ++e) {
                [[unroll]] for (uint i = 8; i-- > 0;) {
                    const float scale = scales[side][own][first + i];
#ifdef A_MIN
                    sum = fma(b[i][e], scale * v[i][e], sum);
                    offset = fma(b[i][e], minima[side][own][first + i], offset);
#else
                    sum = fma(b[i][e] * scale, v[i][e], sum);
#endif
                }
            }
#ifdef A_MIN
            const vec2 d = a_super_scale(at);
            sums[n][r] = fma(d.x, sum, fma(-d.y, offset, sums[n][r]));
#else
            sums[n][r] = fma(a_super_scale(at), sum, sums[n][r]);
#endif
        }
    }
}
