// q2_k against q8_1: super-blocks of 256 in 84 bytes, scales[16] @0, qs[64] @16, d f16 @80, dmin f16 @82; of each 16 elements
// d8 * (d * (scale & 15) * sum of q * q8 - dmin * (scale >> 4) * sum of q8): the sums of q8 are those of its own 16, not q8_1's.
// Four sub-blocks share each 32 bytes of qs: sub-block s has its codes in bits 2 s and 2 s + 1. Loads are of 32 bits, of scales 16 and in
// the GEMV 8.
struct block_q2_k {
    uint8_t scales[16];
    uint qs[16];
    uint dm;
};
layout(binding = 0, std430) readonly buffer Weights { block_q2_k weights[]; };

uint a_codes(uint block, uint i) {
    const uint sub = block & 7;
    return (weights[block >> 3].qs[(sub >> 2) * 8 + i] >> (sub & 3) * 2) & 0x03030303u;
}

// Adds a word's products to the sum of q * q8 and to that of the minimum * q8, both times what scales them.
void a_add(inout int sum, inout int minima, int codes, uint scale, int b) {
    sum += dotPacked4x8EXT(codes, b) * int(scale & 15);
    minima += dotPacked4x8EXT(int((scale >> 4) * 0x01010101u), b);
}

float a_scaled_sums(int sum, int minima, uint dm, float d8) {
    const vec2 d = unpackHalf2x16(dm);
    return d8 * (d.x * float(sum) - d.y * float(minima));
}

#ifdef GEMM
// Four words of codes are staged in one, the first in the lowest two bits of each byte.
#define A_WORDS 2
#define A_ITEMS 2
int a_staged(uint block, uint i) {
    return int(a_codes(block, i * 4) | a_codes(block, i * 4 + 1) << 2 | a_codes(block, i * 4 + 2) << 4 | a_codes(block, i * 4 + 3) << 6);
}

struct ScaleHalves {
    uint16_t scales[8];
    uint rest[17];
};
layout(binding = 0, std430) readonly buffer WeightsH { ScaleHalves weights_h[]; };

#define A_SCALE uvec2 // d and dmin, and the two scales of a block
A_SCALE a_scale(uint block) { return uvec2(weights[block >> 3].dm, uint(weights_h[block >> 3].scales[block & 7])); }

float a_product(int a[A_WORDS], A_SCALE scale, int b[8], vec2 ds) {
    int sum = 0;
    int minima = 0;
    [[unroll]] for (uint i = 0; i < 8; ++i) {
        const int codes = int((uint(a[i / 4]) >> i % 4 * 2) & 0x03030303u);
        a_add(sum, minima, codes, (scale.y >> i / 4 * 8) & 0xFF, b[i]);
    }
    return a_scaled_sums(sum, minima, scale.x, ds.x);
}
#else
#define A_ELEMENTS 16
#define A_PART
float part_of_row(uint block, uint part, int b[4], vec2 ds) {
    const uint scale = uint(weights[block >> 3].scales[(block & 7) * 2 + part]);
    int sum = 0;
    int minima = 0;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        a_add(sum, minima, int(a_codes(block, part * 4 + i)), scale, b[i]);
    }
    return a_scaled_sums(sum, minima, weights[block >> 3].dm, ds.x);
}
#endif
