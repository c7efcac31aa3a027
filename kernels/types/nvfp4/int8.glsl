// nvfp4 for int8 matrices: the numbers doubled. A block of 32 is half of one in memory, each of its halves has a scale; the low and high
// halves of a word's bytes are 8 elements apart. As llama.cpp has it without native e4m3, scales are looked up.
struct block_nvfp4 {
    uint8_t d[4];
    uint8_t qs[32];
};
layout(binding = 0, std430) readonly buffer Weights { block_nvfp4 weights[]; };

#include "../e2m1.glsl"
const int a_values[16] = {E2M1_DOUBLED};
#include "../ue4m3.glsl"
#define A_VALUE int8_t
#define A_SCALE_VALUES 128
#define A_TABLE
#include "../table.glsl"
#define A_LOADERS 4
#define A_AT(item) (((item) >> 1) * 4 + ((item) & 1))
#define A_APART 2
#define A_TWO_SCALES
struct Piece {
    uint codes;
    uint scales;
};

Piece a_fetch(uint block, uint item) {
    const uint at = block >> 1;
    const uint half_of = block & 1;
    const uint first = (half_of * 2 + (item >> 1)) * 8 + (item & 1) * 4;
    const u8vec4 codes = u8vec4(weights[at].qs[first], weights[at].qs[first + 1], weights[at].qs[first + 2], weights[at].qs[first + 3]);
    return Piece(pack32(codes), uint(weights[at].d[half_of * 2]) | uint(weights[at].d[half_of * 2 + 1]) << 8);
}

uint a_word_of(uint codes) {
    const uvec4 at = uvec4(unpack8(codes));
    return uint(pack32(i8vec4(a_table[at.x], a_table[at.y], a_table[at.z], a_table[at.w])));
}
uvec2 a_codes(Piece piece) { return uvec2(a_word_of(piece.codes & 0x0F0F0F0Fu), a_word_of((piece.codes >> 4) & 0x0F0F0F0Fu)); }
vec2 piece_scales(Piece piece, uint block) { return 0.5 * vec2(a_scales[piece.scales & 255], a_scales[piece.scales >> 8]); }
