// What the decode files of block types share. Two neighbours along K come out of one word: all but the choice between them is the same
// expression, which compilers then evaluate once.
#define COMPONENT float16_t
#define DECODE , decode
layout(binding = 0, std430) readonly buffer Weights { uint16_t weights[]; };

// The `i`th of a pair of bytes as f16.
float16_t unsigned_of_pair(uint pair, uint i) { return float16_t(unpack8(pair)[i & 1]); }
float16_t signed_of_pair(uint pair, uint i) { return float16_t(unpack8(int(pair))[i & 1]); }
