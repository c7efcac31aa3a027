// The decode files of block types share these. Two neighbours along K come out of one word by the same expression, but for the choice
// between them: a compiler that evaluates both in one invocation evaluates it once.
#define COMPONENT float16_t
#define DECODE , decode
layout(binding = 0, std430) readonly buffer Weights { uint16_t weights[]; };

#ifdef NUMBERS_BY_BITS
// A byte in the mantissa of 1024: f16 holds every integer there. Conversions have a quarter of the rate of such arithmetic on some GPUs.
f16vec2 pair_of(uint bytes, uint sign) {
    return unpackFloat2x16((((bytes | bytes << 8) & 0x00FF00FFu) ^ (sign | sign << 16)) | 0x64006400u);
}
float16_t unsigned_of_pair(uint bytes, uint i, float16_t less) { return (pair_of(bytes, 0) - f16vec2(float16_t(1024.0) + less))[i & 1]; }
float16_t signed_of_pair(uint bytes, uint i) { return (pair_of(bytes, 0x80u) - f16vec2(1152.0))[i & 1]; }
#else
// Byte `i & 1` of two as f16; `less` is subtracted from it.
float16_t unsigned_of_pair(uint bytes, uint i, float16_t less) { return float16_t(unpack8(bytes)[i & 1]) - less; }
float16_t signed_of_pair(uint bytes, uint i) { return float16_t(unpack8(int(bytes))[i & 1]); }
#endif
