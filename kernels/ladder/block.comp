#version 450
// Block loads: rows of q4_0 blocks (an f16 scale, 32 four-bit numbers), decoded to f16 by a function that the load calls.
#include "matrix.glsl"
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_shader_8bit_storage : require
#ifdef DECODE_VECTOR
#extension GL_NV_cooperative_matrix_decode_vector : require
#endif

layout(buffer_reference, std430, buffer_reference_align = 2) readonly buffer Block {
    float16_t scale;
    uint8_t low_and_high[16];
};
layout(binding = 0, std430) readonly buffer BufferA { uint16_t a[]; };
layout(binding = 2, std430) writeonly buffer BufferD { float16_t d[]; };

uint number(const in Block b, const uint at) {
    return uint(b.low_and_high[at & 15]) >> (at / 16 * 4) & 15;
}

float16_t decode(const in Block b, const in uint32_t block_at[2], const in uint32_t at[2]) {
    return float16_t(int(number(b, at[1])) - 8) * b.scale;
}

#ifdef DECODE_VECTOR
f16vec4 decode_four(const in Block b, const in uint32_t block_at[2], const in uint32_t at[2]) {
    f16vec4 four;
    for (uint i = 0; i < 4; ++i) {
        four[i] = float16_t(int(number(b, at[1] + i)) - 8);
    }
    return four * b.scale;
}
#define DECODE decode, decode_four
#else
#define DECODE decode
#endif

void main() {
    tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> t = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
    t = setTensorLayoutBlockSizeNV(t, 1, 32);
    t = setTensorLayoutDimensionNV(t, p.extent & 0xFFFF, p.extent >> 16);
    t = sliceTensorLayoutNV(t, bitfieldExtract(int(p.offset), 0, 16), M, bitfieldExtract(int(p.offset), 16, 16), N);
    coopmat<float16_t, SCOPE, M, N, USE> m;
    coopMatLoadTensorNV(m, a, 0, t, DECODE);
    coopMatStore(m, d, 0, N, gl_CooperativeMatrixLayoutRowMajor);
}
