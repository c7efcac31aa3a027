// The first 16 bytes of q4_k and q5_k: d and dmin, f16, then the 6-bit scales and minimums of eight sub-blocks of 32 in 12 bytes.
// BLOCK_UVEC4S: length of a block in 16 B.
#ifdef SCALES_F16
#define SCALE2 f16vec2
#else
#define SCALE2 vec2
#endif

// Scales and minimums of sub-blocks 0 to 3, or 4 to 7, a byte each.
uvec2 six_bits(uvec4 header, bool last_four) {
    const uvec2 low = header.yz & 0x3F3F3F3Fu;
    const uvec2 high = (uvec2(header.w, header.w >> 4) & 0x0F0F0F0Fu) | ((header.yz >> 2) & 0x30303030u);
    return last_four ? high : low;
}

// (scale, minimum) of sub-block `s`: element = scale * q - minimum.
vec2 scale_of(uvec4 header, uint s) {
    const uvec2 bytes = (six_bits(header, s >= 4) >> ((s & 3) * 8)) & 0xFFu;
    return unpackHalf2x16(header.x) * vec2(bytes);
}

// A workgroup's rows have theirs in shared memory, a super-block at a time: a load would work them out for every element.
#define DECODE_SCALES
layout(binding = 0, std430) readonly buffer Headers { uvec4 headers[]; };
shared SCALE2 scales[8 * BM];
const uint SCALES_EACH = 8 * BM / BLOCK_SIZE;
uvec4 fetched;

void fetch_scales(uint m0, uint k) {
    const uint m = min(m0 + gl_LocalInvocationIndex % BM, p.M - 1);
    fetched = headers[(m * (p.K / 256) + k / 256) * BLOCK_UVEC4S];
}

void put_scales() {
    const uint row = gl_LocalInvocationIndex % BM;
    [[unroll]] for (uint i = 0; i < SCALES_EACH; ++i) {
        const uint s = gl_LocalInvocationIndex / BM * SCALES_EACH + i;
        scales[s * BM + row] = SCALE2(scale_of(fetched, s));
    }
}
#define SCALE(block, block_at, i) scales[((i) >> 5) * BM + (block_at)[0] % BM]

#ifdef SCALES_F16
#define SCALED(scale, q) (fma((scale).x, q, -(scale).y))
#else
#define SCALED(scale, q) float16_t(fma((scale).x, float(q), -(scale).y))
#endif
