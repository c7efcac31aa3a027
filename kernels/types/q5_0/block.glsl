// q5_0's blocks as 16-bit words; type.glsl has the layout.
struct block_q5_0 {
    float16_t d;
    uint16_t qh[2];
    uint16_t qs[8];
};
layout(binding = 0, std430) readonly buffer Weights { block_q5_0 weights[]; };
