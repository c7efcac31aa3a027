// q5_1's blocks as words of 32 bits; type.glsl has the layout.
struct block_q5_1 {
    uint dm;
    uint qh;
    uint qs[4];
};
layout(binding = 0, std430) readonly buffer Weights { block_q5_1 weights[]; };
