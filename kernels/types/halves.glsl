// A block of 32 staged as halves of bytes: elements 0 to 15 in the low ones, 16 to 31 in the high ones.
void a_unpack(ivec4 q[A_CHUNKS], out ivec4 first, out ivec4 second) {
    first = q[0] & 0x0F0F0F0F;
    second = (q[0] >> 4) & 0x0F0F0F0F;
}
