// nvfp4's scales: e4m3 without a sign, four bits of exponent and three of mantissa. 127, NaN in the format's specification, is zero in ggml.
// Bit 7 is always clear.
float a_scale_value(uint bits) {
    const float subnormal = float(bits) / 512.0;
    const float normal = uintBitsToFloat((bits << 20) + 0x3C000000u); // the exponent's bias of 7 to 127
    return bits == 127 ? 0.0 : bits < 8 ? subnormal : normal;
}
