// A block of 32 staged as eight words of int8. Sum of the products of words `first` to `end` - 1.
#define A_WORDS 8
#ifndef INT8_MATRIX
int a_dot(int a[8], int b[8], uint first, uint end) {
    int sum = 0;
    [[unroll]] for (uint i = first; i < end; ++i) {
        sum += dotPacked4x8EXT(a[i], b[i]);
    }
    return sum;
}
#endif
