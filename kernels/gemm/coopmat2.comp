#version 450
// D[n][m] = sum over k of A[m][k] * B[n][k] with matrices of workgroup scope (VK_NV_cooperative_matrix2): the load of A decodes its
// blocks, tensor layouts know the edges, and the driver stages through shared memory as it sees fit.
#define ARITHMETIC_F16
#include "../types/extensions.glsl"
#extension GL_EXT_shader_8bit_storage : require
#extension GL_EXT_buffer_reference : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_NV_cooperative_matrix2 : require
#ifdef BF16
#extension GL_EXT_bfloat16 : require
#endif

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint BLOCK_SIZE = 256; // invocations
layout(constant_id = 1) const uint BM = 128;         // workgroup tile
layout(constant_id = 2) const uint BN = 128;
layout(constant_id = 3) const uint BK = 64;             // K of a matrix
layout(constant_id = 4) const bool SMALLER = true;      // at the edge of N a tile has a half or a quarter of BN
layout(constant_id = 5) const bool ALIGNED = true;      // rows of A and B begin at multiples of 16 B: K is a multiple of 8
#ifndef UNROLL
#define UNROLL 8
#endif

// PART_K: how much of K a workgroup covers (a multiple of 256), K where it is not split; parts lie one after the other in D.
layout(push_constant) uniform Problem { uint M; uint N; uint K; uint PART_K; } p;
// Not readonly, as llama.cpp's decode buffers are not: compilers have other loads for what nobody writes.
#define BLOCK(alignment) layout(buffer_reference, std430, buffer_reference_align = alignment) buffer Block
#include "decode.glsl"
// N is padded to a multiple of BN here.
layout(binding = 1, std430) readonly buffer Activations { COMPONENT activations[]; };
layout(binding = 2, std430) writeonly buffer Output { float result[]; };

#ifdef ACC_F16
#define ACC float16_t
#else
#define ACC float
#endif

// How far along K the loop is unrolled: a super-block, whose scales are fetched together, or several matrices.
#if BLOCK_ELEMENTS == 256
const uint STEP = 256;
#else
const uint STEP = UNROLL * BK;
#endif

#define MULTIPLY multiply_whole
#define WIDTH BN
#include "coopmat2_tile.glsl"
#undef MULTIPLY
#undef WIDTH

const uint HALF = BN / 2;
#define MULTIPLY multiply_half
#define WIDTH HALF
#include "coopmat2_tile.glsl"
#undef MULTIPLY
#undef WIDTH

const uint QUARTER = BN / 4;
#define MULTIPLY multiply_quarter
#define WIDTH QUARTER
#include "coopmat2_tile.glsl"

void main() {
#ifdef DECODE_TABLE
    decode_init();
    barrier();
#endif
    const uint m0 = gl_WorkGroupID.x * BM;
    const uint n0 = gl_WorkGroupID.y * BN;
    if (SMALLER && n0 + QUARTER >= p.N) {
        multiply_quarter(m0, n0);
    } else if (SMALLER && n0 + HALF >= p.N) {
        multiply_half(m0, n0);
    } else {
        multiply_whole(m0, n0);
    }
}
