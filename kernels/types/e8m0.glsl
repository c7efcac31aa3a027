// Half of the scale that the byte `e` of e8m0 stands for, 2^(e - 128): e2m1.glsl has the numbers doubled. It is subnormal where e is 0 or 1.
#define E8M0_HALVED(e) uintBitsToFloat((e) < 2 ? 0x00200000u << (e) : ((e) - 1) << 23)
