// q8_0 against q8_1: blocks of 32 in 34 bytes, d f16 @0, qs int8[32] @2.
#define BLOCK_WORDS 8
#include "../d_block.glsl"
#include "../int8_intdot.glsl"
