// A block of 32 staged as bytes: elements 0 to 15 in the first chunk, 16 to 31 in the second.
void a_unpack(ivec4 q[A_CHUNKS], out ivec4 first, out ivec4 second) {
    first = q[0];
    second = q[1];
}
