// A type's 16 numbers in shared memory, for loads that decode. Needs NUMBERS.
#define DECODE_TABLE
shared float16_t table[16];

void decode_init() {
    const int numbers[16] = int[](NUMBERS);
    if (gl_LocalInvocationIndex < 16) {
        table[gl_LocalInvocationIndex] = float16_t(numbers[gl_LocalInvocationIndex]);
    }
}
