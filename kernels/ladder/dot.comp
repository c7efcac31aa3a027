#version 450
// Integer dot products of four 8-bit pairs, added to an accumulator with and without saturation; with PLAIN by plain arithmetic.
// From the defines: A_T, B_T and R_T (int or uint) give the signs; VECTOR takes 8-bit vectors in place of packed words.
#extension GL_EXT_shader_explicit_arithmetic_types : require
#ifndef PLAIN
#extension GL_EXT_integer_dot_product : require
#endif

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(binding = 0, std430) readonly buffer BufferA { uint a[]; };
layout(binding = 1, std430) readonly buffer BufferB { uint b[]; };
layout(binding = 2, std430) writeonly buffer BufferD { uint d[]; };
layout(binding = 3, std430) readonly buffer BufferC { uint c[]; };
layout(push_constant) uniform Parameters { uint saturating; uint steps; uint unused; } p;
#define CHAINS 8

R_T plain(A_T x, B_T y) {
    R_T sum = R_T(0);
    for (int i = 0; i < 32; i += 8) {
        sum += R_T(bitfieldExtract(x, i, 8)) * R_T(bitfieldExtract(y, i, 8));
    }
    return sum;
}

R_T saturated(R_T x, R_T y) {
    const R_T sum = x + y;
#ifdef UNSIGNED_RESULT
    return sum < x ? ~R_T(0) : sum;
#else
    const bool beyond = ((x ^ sum) & (y ^ sum)) < 0;
    return beyond ? (x < 0 ? R_T(0x80000000) : R_T(0x7FFFFFFF)) : sum;
#endif
}

R_T dotted(A_T x, B_T y, R_T z) {
#if defined(PLAIN)
    return plain(x, y) + z;
#elif defined(VECTOR)
    return dotEXT(unpack8(x), unpack8(y)) + z;
#else
    return dotPacked4x8EXT(x, y) + z;
#endif
}

R_T dotted_saturated(A_T x, B_T y, R_T z) {
#if defined(PLAIN)
    return saturated(plain(x, y), z);
#elif defined(VECTOR)
    return dotAccSatEXT(unpack8(x), unpack8(y), z);
#else
    return dotPacked4x8AccSatEXT(x, y, z);
#endif
}

void main() {
    const uint at = gl_GlobalInvocationID.x;
    if (p.steps == 0) {
        const A_T x = A_T(a[at]);
        const B_T y = B_T(b[at]);
        const R_T z = R_T(c[at]);
        d[at] = uint(p.saturating != 0 ? dotted_saturated(x, y, z) : dotted(x, y, z));
        return;
    }
    // For timing: independent chains, each result an operand of its next step.
    R_T chain[CHAINS];
    for (uint i = 0; i < CHAINS; ++i) {
        chain[i] = R_T(a[i] + at);
    }
    const B_T y = B_T(b[0]);
    if (p.saturating != 0) {
        for (uint s = 0; s < p.steps; ++s) {
            for (uint i = 0; i < CHAINS; ++i) {
                chain[i] = dotted_saturated(A_T(chain[i]), y, chain[i]);
            }
        }
    } else {
        for (uint s = 0; s < p.steps; ++s) {
            for (uint i = 0; i < CHAINS; ++i) {
                chain[i] = dotted(A_T(chain[i]), y, chain[i]);
            }
        }
    }
    R_T sum = R_T(0);
    for (uint i = 0; i < CHAINS; ++i) {
        sum += chain[i];
    }
    d[at] = uint(sum);
}
