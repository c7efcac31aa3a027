// The numbers of e2m1, by code, doubled so that all are integers.
#define E2M1_DOUBLED 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12
