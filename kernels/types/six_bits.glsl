// The twelve bytes of scales of q4_k and q5_k: eight scales and eight mins of six bits, for sub-blocks of 32.
// Bytes 0 to 3 hold scales of the first four sub-blocks in six bits, bytes 4 to 7 their mins, and bytes 8 to 11 the low four bits of
// the other four's scales and mins, whose upper two bits are at the top of bytes 0 to 7.

// (scale, min) of one sub-block. As in llama.cpp its words are chosen by an index, and a value is cut to a byte: where the low four bits
// lie and by how much everything is shifted depends on the half.
uvec2 k_scale(uint words[3], uint sub) {
    const uvec3 all = uvec3(words[0], words[1], words[2]);
    const bool others = sub >= 4;
    const uint shift = 8 * (sub & 3);
    const uvec2 from = others ? uvec2(2, 2) : uvec2(0, 1);
    const uvec2 down = others ? uvec2(shift, shift + 4) : uvec2(shift);
    const uint down_high = others ? shift + 2 : shift;
    const uvec2 low = uvec2(all[from.x] >> down.x, all[from.y] >> down.y) & 0x0F;
    return uvec2(u8vec2(low | (all.xy >> down_high) & 0x30));
}

// Scales and mins of four sub-blocks, a byte each: the first four, or the others.
uvec2 k_scales(uint words[3], bool others) {
    const uvec2 own = uvec2(words[0], words[1]);
    return others ? (uvec2(words[2], words[2] >> 4) & 0x0F0F0F0Fu) | ((own >> 2) & 0x30303030u) : own & 0x3F3F3F3Fu;
}
