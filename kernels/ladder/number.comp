#version 450
// Conversions of a small float type: codes to f32, f32 to codes, and with the largest finite numbers in place of overflow.
// From the defines: DECODE(word) is the f32 of a code, ENCODE(f32) a code, ENCODE_SATURATED(f32) likewise, DECODE_HALF(word) f16's bits.
#extension GL_EXT_shader_explicit_arithmetic_types : require
#extension GL_EXT_bfloat16 : enable
#extension GL_EXT_float_e4m3 : enable
#extension GL_EXT_float_e5m2 : enable
#ifdef WITH_OCP
#extension GL_EXT_float_e2m1 : require
#extension GL_EXT_float_e3m2 : require
#extension GL_EXT_float_e2m3 : require
#extension GL_EXT_float_ue8m0 : require
#extension GL_EXT_float_mxint8 : require
#endif

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(binding = 0, std430) readonly buffer BufferA { uint a[]; };
layout(binding = 2, std430) writeonly buffer BufferD { uint d[]; };
layout(push_constant) uniform Parameters { uint mode; uint shift; uint unused; } p;
#define TO_CODE 1u
#define TO_CODE_SATURATED 2u
#define TO_HALF 3u

#ifdef ENCODE_SATURATED
FLOAT8 saturated(float x) {
    FLOAT8 y;
    saturatedConvertEXT(y, x);
    return y;
}
#endif

void main() {
    const uint at = gl_GlobalInvocationID.x;
    const uint word = a[at];
    uint got = 0;
    switch (p.mode) {
#ifdef ENCODE
    case TO_CODE:
        got = uint(ENCODE(uintBitsToFloat(word)));
        break;
#endif
#ifdef ENCODE_SATURATED
    case TO_CODE_SATURATED:
        got = uint(ENCODE_SATURATED(uintBitsToFloat(word)));
        break;
#endif
#ifdef DECODE_HALF
    case TO_HALF:
        got = uint(float16BitsToUint16(DECODE_HALF(word)));
        break;
#endif
    default:
        got = floatBitsToUint(DECODE(word));
        break;
    }
    d[at] = got;
}
