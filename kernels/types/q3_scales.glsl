// The twelve bytes of scales of q3_k: sixteen scales of six bits, less 32. Bytes 0 to 7 hold the low four bits of the first eight in their
// low halves and those of the others in their high ones; bytes 8 to 11 the upper two bits of scale i in byte 8 + i % 4, at 2 * (i / 4).
// Needs weights with `scales` by bytes.
int scale_of(uint block, uint i) {
    const uint low = uint(weights[block].scales[i & 7]) >> (i >> 3) * 4 & 15;
    const uint high = uint(weights[block].scales[8 + (i & 3)]) >> (i >> 2) * 2 & 3;
    return int(low | high << 4) - 32;
}
