// Two scales staged in a word, as f16.
#define A_SCALE uint

// Rounded before they are packed: packHalf2x16 may cut, which would make all products smaller.
uint packed(vec2 scales) { return packHalf2x16(uintBitsToFloat((floatBitsToUint(scales) + 0x1000u) & 0xFFFFE000u)); }
