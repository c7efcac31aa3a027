// scalar.comp, coopmat.comp and coopmat2_reduced.comp share the problem, the tile and the staging of A and B (coopmat2_reduced: of A
// alone) through shared memory.
// D[n][m] = sum over k of A[m][k] * B[n][k]: A weights (M rows of K), B activations (N rows of K, f32, or as they were converted), D f32.
layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint BLOCK_SIZE = 128; // invocations
layout(constant_id = 1) const uint BM = 64;          // workgroup tile
layout(constant_id = 2) const uint BN = 64;
layout(constant_id = 4) const uint WM = 32; // subgroup tile
layout(constant_id = 5) const uint WN = 32;
layout(constant_id = 6) const uint WMITER = 2; // steps a scalar subgroup tile is covered in along M
layout(constant_id = 7) const uint TM = 4;     // invocation's tile, or the cooperative matrix's M, N, K
layout(constant_id = 8) const uint TN = 2;
layout(constant_id = 9) const uint TK = 1;
layout(constant_id = 10) const uint WARP = 32; // subgroup size
layout(constant_id = 11) const bool ALIGNED = true; // K is a multiple of the tile's alignment: vector loads, no tail
#ifdef B_BF16
#define BK 16
#else
#define BK 32
#endif

#ifdef B_BF16
// Activations converted to bf16 beforehand: the upper halves of f32.
layout(binding = 1, std430) readonly buffer ActivationsV { uvec2 activations_v[]; };
layout(binding = 1, std430) readonly buffer ActivationsS { uint16_t activations_s[]; };
vec4 b_load4(uint at) {
    const uvec2 bits = activations_v[at];
    return uintBitsToFloat(uvec4(bits.x << 16, bits.x & 0xFFFF0000u, bits.y << 16, bits.y & 0xFFFF0000u));
}
float b_load1(uint at) { return uintBitsToFloat(uint(activations_s[at]) << 16); }
#elif defined(B_F16)
// Activations converted to f16 beforehand.
layout(binding = 1, std430) readonly buffer ActivationsV { uvec4 activations_v[]; };
layout(binding = 1, std430) readonly buffer ActivationsS { float16_t activations_s[]; };
float b_load1(uint at) { return float(activations_s[at]); }
#else
layout(binding = 1, std430) readonly buffer ActivationsV { vec4 activations_v[]; };
layout(binding = 1, std430) readonly buffer ActivationsS { float activations_s[]; };
vec4 b_load4(uint at) { return activations_v[at]; }
float b_load1(uint at) { return activations_s[at]; }
#endif
layout(binding = 2, std430) writeonly buffer Output { float result[]; };
// PART_K: how much of K a workgroup covers, K where it is not split; parts lie one after the other in D.
layout(push_constant) uniform Problem { uint M; uint N; uint K; uint PART_K; } p;
uint part_begin() { return gl_WorkGroupID.z * p.PART_K; }
uint part_end() { return min(p.K, part_begin() + p.PART_K); }
uint part_of_d() { return gl_WorkGroupID.z * p.M * p.N; }

#if defined(STAGE_F16)
#define STAGE float16_t
#define STAGE2 f16vec2
#elif defined(STAGE_BF16)
#define STAGE bfloat16_t
#define STAGE2 bf16vec2
#else
#define STAGE float
#define STAGE2 vec2
#endif

// One vec2 holds two neighbouring k; the padding spreads rows over the banks.
#define STRIDE (BK / 2 + STRIDE_PAD)
shared STAGE2 stage_a[BM * STRIDE];
#ifndef B_UNSTAGED
shared STAGE2 stage_b[BN * STRIDE];
#endif

#ifdef STAGE_BF16
// Four elements as they lie in memory, which nothing widens on the way.
void bits_to(out bf16vec2 low, out bf16vec2 high, uvec2 bits) {
    low = uintBitsToBFloat16EXT(unpack16(bits.x));
    high = uintBitsToBFloat16EXT(unpack16(bits.y));
}
#endif
void put_a(uint row, uint k, vec2 v) { stage_a[row * STRIDE + k / 2] = STAGE2(v); }
#ifndef B_UNSTAGED
void put_b(uint row, uint k, vec4 v) {
    const uint at = row * STRIDE + k / 2;
    stage_b[at] = STAGE2(v.xy);
    stage_b[at + 1] = STAGE2(v.zw);
}
#endif

// Elements that an invocation stages at once, as llama.cpp has them: of A by type, of floats as many as fill 16 bytes of shared memory,
// but four of bf16.
#if defined(STAGE_F16) && !defined(B_BF16)
#define B_STAGED 8
#else
#define B_STAGED 4
#endif
#ifndef A_STAGED
#ifdef A_FLOAT
#define A_STAGED B_STAGED
#else
#define A_STAGED 8
#endif
#endif
#ifndef A_APART
#define A_APART 2
uint a_pair(uint piece) { return piece * 4; }
#endif

vec2 a_scaled(vec2 v, vec2 scale) {
#if defined(A_MIN)
    return v * scale.x - scale.y;
#elif defined(A_FLOAT)
    return v;
#else
    return v * scale.x;
#endif
}

// Decode piece `piece` of the step along K that begins with piece `first` of A, into row `row` of the tile.
void stage_piece(uint row, uint first, uint piece) {
#if A_STAGED == 8
    vec4 low, high;
    const vec2 scale = a_load8(first + piece, low, high);
    put_a(row, a_first(piece), a_scaled(low.xy, scale));
    put_a(row, a_first(piece) + 2, a_scaled(low.zw, scale));
    put_a(row, a_second(piece), a_scaled(high.xy, scale));
    put_a(row, a_second(piece) + 2, a_scaled(high.zw, scale));
#elif defined(STAGE_BF16)
    const uint at = row * STRIDE + piece * 2;
    bits_to(stage_a[at], stage_a[at + 1], weights_p[first + piece]);
#elif A_STAGED == 4
    vec4 v;
    const vec2 scale = a_load4(first + piece, v);
    put_a(row, a_pair(piece), a_scaled(v.xy, scale));
    put_a(row, a_pair(piece) + A_APART, a_scaled(v.zw, scale));
#else
    vec2 v;
    const vec2 scale = a_load2(first + piece, v);
    put_a(row, piece * 2, a_scaled(v, scale));
#endif
}

// The step along K at k0 of the tile's rows from m0 on; `first` is its piece of row m0. Rows lie at offsets that don't change from step to
// step, as in llama.cpp: compilers keep them. As there too nothing is checked where loads are vectors: rows beyond M are the next ones in
// memory, or beyond the buffer whatever its bounds checks give, and are in no result.
void stage_weights(uint m0, uint k0, uint first) {
    const uint pieces = BK / A_STAGED;
    [[unroll]] for (uint i = 0; i < BM * pieces; i += BLOCK_SIZE) {
        const uint at = i + gl_LocalInvocationIndex;
        if (BM * pieces % BLOCK_SIZE != 0 && at >= BM * pieces) {
            break;
        }
        const uint row = at / pieces;
        const uint piece = at % pieces;
#ifdef A_FLOAT
        if (!ALIGNED) {
            const uint count = m0 + row < p.M ? p.K : 0;
            [[unroll]] for (uint j = 0; j < A_STAGED; j += 2) {
                const uint k = k0 + piece * A_STAGED + j;
                const uint a = (m0 + row) * p.K + k;
                put_a(row, piece * A_STAGED + j, vec2(k < count ? a_load1(a) : 0.0, k + 1 < count ? a_load1(a + 1) : 0.0));
            }
            continue;
        }
#endif
        stage_piece(row, first + row * p.K / A_STAGED, piece);
    }
}

#ifndef B_UNSTAGED
void stage_activations(uint n0, uint k0, uint first) {
    const uint pieces = BK / B_STAGED;
    [[unroll]] for (uint i = 0; i < BN * pieces; i += BLOCK_SIZE) {
        const uint at = i + gl_LocalInvocationIndex;
        if (BN * pieces % BLOCK_SIZE != 0 && at >= BN * pieces) {
            break;
        }
        const uint row = at / pieces;
        const uint piece = at % pieces;
        const uint from = (first + row * p.K / B_STAGED + piece) * (B_STAGED / 4);
        const uint count = n0 + row < p.N ? p.K : 0;
#ifdef B_F16
        if (ALIGNED) { // eight as they lie
            const uvec4 bits = activations_v[from / 2];
            [[unroll]] for (uint i = 0; i < 4; ++i) {
                stage_b[row * STRIDE + piece * 4 + i] = unpackFloat2x16(bits[i]);
            }
            continue;
        }
#endif
        [[unroll]] for (uint i = 0; i < B_STAGED; i += 4) {
            const uint k = piece * B_STAGED + i;
#ifdef STAGE_BF16
            if (ALIGNED) {
                const uint at = row * STRIDE + k / 2;
                bits_to(stage_b[at], stage_b[at + 1], activations_v[from + i / 4]);
                continue;
            }
#endif
            vec4 v;
#ifndef B_F16
            if (ALIGNED) {
                v = b_load4(from + i / 4);
            } else
#endif
            {
                [[unroll]] for (uint j = 0; j < 4; ++j) {
                    v[j] = k0 + k + j < count ? b_load1((n0 + row) * p.K + k0 + k + j) : 0.0;
                }
            }
            put_b(row, k, v);
        }
    }
}
#endif
