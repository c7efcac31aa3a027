#version 450
// Multiply-adds of registers: f32, packed f16, dot products of f16 pairs or of four 8-bit pairs.
// From the defines: X_T and Y_T are the operands, STEP(a, b, c) is a * b + c of them, X(word), Y(word) and BITS(x) convert; WIDTH
// multiply-adds make a step. FIXED: the sum is no operand of its own next step.
#extension GL_EXT_shader_explicit_arithmetic_types : require
#ifdef INTEGER
#extension GL_EXT_integer_dot_product : require
#endif
#ifdef DOT2
// VK_VALVE_shader_mixed_float_dot_product: two f16 products and an f32 addend in one instruction, which glslang has no name for yet.
#extension GL_EXT_spirv_intrinsics : require
spirv_instruction(extensions = ["SPV_VALVE_mixed_float_dot_product"], capabilities = [6912], id = 6916)
float mixed_dot(f16vec2 a, f16vec2 b, float c);
#endif

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;

layout(binding = 0, std430) readonly buffer Numbers { uint numbers[]; };
layout(binding = 2, std430) writeonly buffer Output { uint result[]; };
layout(push_constant) uniform Problem { uint M; uint N; uint K; uint unused; } p;

#define PAIRS 8   // independent chains: x and y of each are the operands of each other's steps
#define ROUNDS 32 // of the unrolled loop; 16 steps each

#define EACH(OF) OF(0) OF(1) OF(2) OF(3) OF(4) OF(5) OF(6) OF(7)
#define LOAD(i) X_T x##i = X(numbers[at + 2 + 2 * i]); Y_T y##i = Y(numbers[at + 3 + 2 * i]);
#define FIRST(i) x##i = STEP(y##i, down, x##i);
#ifdef FIXED
#define SECOND(i) x##i = STEP(y##i, up, x##i);
#else
#define SECOND(i) y##i = STEP(x##i, up, y##i);
#endif
#define ROUND EACH(FIRST) EACH(SECOND)
#define ROUNDS_4 ROUND ROUND ROUND ROUND
#define ROUNDS_16 ROUNDS_4 ROUNDS_4 ROUNDS_4 ROUNDS_4
#define DIGEST(i) digest = (digest * 31 + BITS(x##i)) * 31 + Y_BITS(y##i);

void main() {
    const uint at = gl_LocalInvocationIndex * (2 + 2 * PAIRS);
    const Y_T down = Y(numbers[at]), up = Y(numbers[at + 1]);
    EACH(LOAD)
    for (uint left = p.K / (2 * PAIRS * ROUNDS * WIDTH); left != 0; --left) {
        ROUNDS_16
        ROUNDS_16
    }
    uint digest = 0;
    EACH(DIGEST)
    result[gl_GlobalInvocationID.x] = digest;
}
