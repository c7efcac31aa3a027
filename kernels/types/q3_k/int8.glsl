// q3_k for int8 matrices: the codes less 4; each half of a block has a scale of its own.
struct block_q3_k {
    uint16_t hmask[16];
    uint16_t qs[32];
    uint16_t scales[6];
    float16_t d;
};
layout(binding = 0, std430) readonly buffer Weights { block_q3_k weights[]; };

uint a_word(uint block, uint i) {
    const uint super = block >> 3;
    const uint sub = block & 7;
    const uint at = (sub >> 2) * 16 + i * 2;
    const uint low = uint(weights[super].qs[at]) | uint(weights[super].qs[at + 1]) << 16;
    const uint third = uint(weights[super].hmask[i * 2]) | uint(weights[super].hmask[i * 2 + 1]) << 16;
    const uint codes = ((low >> (sub & 3) * 2) & 0x03030303u) | ((third >> sub) & 0x01010101u) << 2;
    return (codes + 0x7C7C7C7Cu) ^ 0x80808080u;
}
#include "../k_int8.glsl"
#define A_TWO_SCALES
vec2 piece_scales(Piece piece, uint block) {
    const uint super = block >> 3;
    const uint sub = block & 7;
    const uint low = uint(weights[super].scales[sub & 3]) >> (sub >> 2) * 4 & 0x0F0Fu;
    const uint high = uint(weights[super].scales[4 + (sub & 1)]) >> (sub >> 1) * 2 & 0x0303u;
    return float(weights[super].d) * (vec2(unpack8(low | high << 4).xy) - 32.0);
}
