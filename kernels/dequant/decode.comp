#version 450
// Blocks to f16 by the functions that coopmat2's loads decode with, called as ordinary ones: they are checked on drivers without block
// loads too. A workgroup decodes one block of each of BM rows; K-quants' scales go through shared memory as they do there.
#define ARITHMETIC_F16
#include "../types/extensions.glsl"
#extension GL_EXT_shader_8bit_storage : require

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint BLOCK_SIZE = 64;
layout(constant_id = 1) const uint BM = 32;

layout(push_constant) uniform Problem { uint M; uint N; uint K; } p;
#define BLOCK(alignment) struct Block
#include "decode.glsl"
layout(binding = 0, std430) readonly buffer Blocks { Block blocks[]; };
layout(binding = 2, std430) writeonly buffer Output { float16_t result[]; };

void main() {
    const uint m0 = gl_WorkGroupID.x * BM;
    const uint block = gl_WorkGroupID.y;
#ifdef DECODE_TABLE
    decode_init();
    barrier();
#endif
#ifdef DECODE_SCALES
    fetch_scales(m0, block * BLOCK_ELEMENTS);
    put_scales();
    barrier();
#endif
    for (uint at = gl_LocalInvocationIndex; at < BM * BLOCK_ELEMENTS; at += BLOCK_SIZE) {
        const uint m = m0 + at / BLOCK_ELEMENTS;
        const uint i = at % BLOCK_ELEMENTS;
        if (m < p.M) {
            const uint32_t block_at[2] = uint32_t[](m, block);
            const uint32_t in_block[2] = uint32_t[](0, i);
            result[m * p.K + block * BLOCK_ELEMENTS + i] = decode(blocks[m * (p.K / BLOCK_ELEMENTS) + block], block_at, in_block);
        }
    }
}
