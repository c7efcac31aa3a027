// What scalar.comp, coopmat.comp and coopmat2_reduced.comp share: the problem, the tile and the staging of A and B (coopmat2_reduced: of A
// alone) through shared memory.
// D[n][m] = sum over k of A[m][k] * B[n][k]: A weights (M rows of K), B activations (N rows of K, f32), D f32.
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
#define BK 32

#ifdef B_BF16
// Activations converted to bf16 beforehand: the upper halves of f32.
layout(binding = 1, std430) readonly buffer ActivationsV { uvec2 activations_v[]; };
layout(binding = 1, std430) readonly buffer ActivationsS { uint16_t activations_s[]; };
vec4 b_load4(uint at) {
    const uvec2 bits = activations_v[at];
    return uintBitsToFloat(uvec4(bits.x << 16, bits.x & 0xFFFF0000u, bits.y << 16, bits.y & 0xFFFF0000u));
}
float b_load1(uint at) { return uintBitsToFloat(uint(activations_s[at]) << 16); }
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

void put4(bool to_a, uint row, uint k, vec4 v) {
    const uint at = row * STRIDE + k / 2;
    if (to_a) {
        stage_a[at] = STAGE2(v.xy);
        stage_a[at + 1] = STAGE2(v.zw);
    }
#ifndef B_UNSTAGED
    else {
        stage_b[at] = STAGE2(v.xy);
        stage_b[at + 1] = STAGE2(v.zw);
    }
#endif
}

// Rows beyond M or N repeat the last one: never read out of bounds, and their results are not stored.
void stage_weights(uint m0, uint k0) {
    const uint chunks = BK / 8;
    [[unroll]] for (uint i = 0; i < BM * chunks; i += BLOCK_SIZE) {
        const uint at = i + gl_LocalInvocationIndex;
        if (BM * chunks % BLOCK_SIZE != 0 && at >= BM * chunks) {
            break;
        }
        const uint row = at / chunks;
        const uint chunk = at % chunks;
        const uint m = min(m0 + row, p.M - 1);
#ifdef A_FLOAT
        if (!ALIGNED) {
            vec4 v[2];
            [[unroll]] for (uint j = 0; j < 8; ++j) {
                const uint k = k0 + chunk * 8 + j;
                v[j / 4][j % 4] = k < p.K ? a_load1(m * p.K + k) : 0.0;
            }
            put4(true, row, chunk * 8, v[0]);
            put4(true, row, chunk * 8 + 4, v[1]);
            continue;
        }
#endif
        vec4 first, second;
        const vec2 scale = a_load8((m * p.K + k0) / 8 + chunk, first, second);
#ifdef A_MIN
        first = first * scale.x - scale.y;
        second = second * scale.x - scale.y;
#elif !defined(A_FLOAT)
        first *= scale.x;
        second *= scale.x;
#endif
        put4(true, row, a_first(chunk), first);
        put4(true, row, a_second(chunk), second);
    }
}

#ifndef B_UNSTAGED
void stage_activations(uint n0, uint k0) {
    const uint chunks = BK / 8;
    [[unroll]] for (uint i = 0; i < BN * chunks; i += BLOCK_SIZE) {
        const uint at = i + gl_LocalInvocationIndex;
        if (BN * chunks % BLOCK_SIZE != 0 && at >= BN * chunks) {
            break;
        }
        const uint row = at / chunks;
        const uint chunk = at % chunks;
        const uint n = min(n0 + row, p.N - 1);
        if (ALIGNED) {
            const uint from = (n * p.K + k0) / 4 + chunk * 2;
            put4(false, row, chunk * 8, b_load4(from));
            put4(false, row, chunk * 8 + 4, b_load4(from + 1));
        } else {
            vec4 v[2];
            [[unroll]] for (uint j = 0; j < 8; ++j) {
                const uint k = k0 + chunk * 8 + j;
                v[j / 4][j % 4] = k < p.K ? b_load1(n * p.K + k) : 0.0;
            }
            put4(false, row, chunk * 8, v[0]);
            put4(false, row, chunk * 8 + 4, v[1]);
        }
    }
}
#endif
