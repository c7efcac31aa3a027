// The twelve bytes of scales of q4_k and q5_k: eight scales and eight mins of six bits, for sub-blocks of 32.
// Bytes 0 to 3 hold scales of the first four sub-blocks in six bits, bytes 4 to 7 their mins, and bytes 8 to 11 the low four bits of
// the other four's scales and mins, whose upper two bits are at the top of bytes 0 to 7.

// (scale, min) of one sub-block.
uvec2 k_scale(uint words[3], uint sub) {
    const uint shift = 8 * (sub & 3);
    const uvec2 own = uvec2(words[0], words[1]) >> shift;
    const uint low = words[2] >> shift;
    return sub < 4 ? own & 0x3F : (uvec2(low, low >> 4) & 0x0F) | ((own >> 2) & 0x30);
}

// Scales and mins of four sub-blocks, a byte each: the first four, or the others.
uvec2 k_scales(uint words[3], bool others) {
    const uvec2 own = uvec2(words[0], words[1]);
    return others ? (uvec2(words[2], words[2] >> 4) & 0x0F0F0F0Fu) | ((own >> 2) & 0x30303030u) : own & 0x3F3F3F3Fu;
}
