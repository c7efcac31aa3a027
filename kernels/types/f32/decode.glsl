// f32 weights become f16 in the load.
#define COMPONENT float16_t
#define BLOCK_ELEMENTS 1
#define DECODE , decode
layout(binding = 0, std430) readonly buffer Weights { float weights[]; };
BLOCK(4) {
    float value;
};

float16_t decode(const in Block block, const in uint32_t block_at[2], const in uint32_t at[2]) { return float16_t(block.value); }
