// Half of the scale of byte `e` in e8m0, 2^(e - 128), which goes with the doubled numbers of e2m1.glsl; subnormal where e is 0 or 1.
#define E8M0_HALVED(e) uintBitsToFloat((e) < 2 ? 0x00200000u << (e) : ((e) - 1) << 23)
