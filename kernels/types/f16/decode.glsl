// f16 weights are loaded as they are. Interface of a decode file: see README.md beside the folder.
#define COMPONENT float16_t
#define BLOCK_ELEMENTS 1
#define DECODE
layout(binding = 0, std430) readonly buffer Weights { float16_t weights[]; };
