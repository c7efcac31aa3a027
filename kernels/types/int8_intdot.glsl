// q8_0, mxfp4 and iq4_xs against q8_1: d * d8 * sum of q * q8 of blocks of 32. Needs a_scale.
#include "bytes.glsl"
#ifndef A_ELEMENTS
#define A_ELEMENTS 8
#endif

#ifndef INT8_MATRIX
float a_product(int a[8], A_SCALE d, int b[8], vec2 ds) { return d * ds.x * float(a_dot(a, b, 0, 8)); }

float part_product(uint block, uint part, int sum, vec2 ds) { return a_scale(block) * ds.x * float(sum); }
#endif
