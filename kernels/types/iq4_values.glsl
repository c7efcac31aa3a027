// The numbers that the sixteen codes of iq4_nl and iq4_xs stand for.
#define IQ4_VALUES -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
