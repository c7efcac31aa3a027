#version 450
// f16 arithmetic, of single numbers and of pairs: multiplication, addition, and both at once; with PLAIN in f32, for timing.
#extension GL_EXT_shader_explicit_arithmetic_types : require

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(binding = 0, std430) readonly buffer BufferA { uint a[]; };
layout(binding = 1, std430) readonly buffer BufferB { uint b[]; };
layout(binding = 2, std430) writeonly buffer BufferD { uint d[]; };
layout(binding = 3, std430) readonly buffer BufferC { uint c[]; };
layout(push_constant) uniform Parameters { uint mode; uint steps; uint unused; } p;
#define CHAINS 8
#define MULTIPLY 0u
#define ADD 1u
#define SINGLE 4u // added to the mode: one number of the pair after the other

#ifdef PLAIN
#define PAIR vec2
#define PAIRED(word) unpackHalf2x16(word)
#define WORD(pair) packHalf2x16(pair)
#else
#define PAIR f16vec2
#define PAIRED(word) unpackFloat2x16(word)
#define WORD(pair) packFloat2x16(pair)
#endif

void main() {
    const uint at = gl_GlobalInvocationID.x;
    if (p.steps == 0) {
        const PAIR x = PAIRED(a[at]), y = PAIRED(b[at]), z = PAIRED(c[at]);
        PAIR got;
        switch (p.mode) {
        case MULTIPLY:
            got = x * y;
            break;
        case ADD:
            got = x + y;
            break;
        case SINGLE + MULTIPLY:
            got = PAIR(x.x * y.x, x.y * y.y);
            break;
        case SINGLE + ADD:
            got = PAIR(x.x + y.x, x.y + y.y);
            break;
        case SINGLE + 2u:
            got = PAIR(fma(x.x, y.x, z.x), fma(x.y, y.y, z.y));
            break;
        default:
            got = fma(x, y, z);
            break;
        }
        d[at] = WORD(got);
        return;
    }
    PAIR chain[CHAINS];
    for (uint i = 0; i < CHAINS; ++i) {
        chain[i] = PAIRED(c[i + at % CHAINS]);
    }
    const PAIR x = PAIRED(a[0]), y = PAIRED(b[0]);
    for (uint s = 0; s < p.steps; ++s) {
        for (uint i = 0; i < CHAINS; ++i) {
            chain[i] = fma(chain[i], x, y);
        }
    }
    PAIR sum = chain[0];
    for (uint i = 1; i < CHAINS; ++i) {
        sum += chain[i];
    }
    d[at] = WORD(sum);
}
