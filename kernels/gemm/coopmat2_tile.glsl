// A tile of BM x WIDTH as the function MULTIPLY; included once for each width.
void MULTIPLY(const uint m0, const uint n0) {
    // Only the host knows that rows and parts begin at multiples of eight elements: the masks let the compiler load 16 B at once.
    const uint stride = ALIGNED ? p.K & ~7u : p.K;
    const uint begin = ALIGNED ? gl_WorkGroupID.z * p.PART_K & ~7u : gl_WorkGroupID.z * p.PART_K;
    const uint end = min(stride, begin + p.PART_K);

    // Two layouts of each: inside, nothing is checked; at an edge, what lies beyond it is 0.
    tensorLayoutNV<2> a_inside = createTensorLayoutNV(2);
    tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> a_edge = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
    tensorLayoutNV<2> b_inside = createTensorLayoutNV(2);
    tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> b_edge = createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
    const tensorViewNV<2, false, 1, 0> transposed = createTensorViewNV(2, false, 1, 0);
#if BLOCK_ELEMENTS > 1
    a_inside = setTensorLayoutBlockSizeNV(a_inside, 1, BLOCK_ELEMENTS);
    a_edge = setTensorLayoutBlockSizeNV(a_edge, 1, BLOCK_ELEMENTS);
#endif
    a_inside = setTensorLayoutDimensionNV(a_inside, p.M, stride);
    a_edge = setTensorLayoutDimensionNV(a_edge, p.M, stride);
    b_inside = setTensorLayoutDimensionNV(b_inside, gl_NumWorkGroups.y * BN, stride);
    b_edge = setTensorLayoutDimensionNV(b_edge, gl_NumWorkGroups.y * BN, stride);

    coopmat<ACC, gl_ScopeWorkgroup, BM, WIDTH, gl_MatrixUseAccumulator> sum =
        coopmat<ACC, gl_ScopeWorkgroup, BM, WIDTH, gl_MatrixUseAccumulator>(0.0);
#ifdef DECODE_SCALES
    fetch_scales(m0, begin);
#endif

    uint k = begin;
    if (m0 + BM <= p.M) {
        for (; k + STEP <= end; k += STEP) {
#ifdef DECODE_SCALES
            barrier(); // everybody has read the last step's
            put_scales();
            barrier();
            if (k + STEP < end) {
                fetch_scales(m0, k + STEP);
            }
#endif
            [[unroll]] for (uint i = 0; i < STEP; i += BK) {
                coopmat<COMPONENT, gl_ScopeWorkgroup, BM, BK, gl_MatrixUseA> a;
                coopmat<COMPONENT, gl_ScopeWorkgroup, BK, WIDTH, gl_MatrixUseB> b;
                coopMatLoadTensorNV(a, weights, 0, sliceTensorLayoutNV(a_inside, m0, BM, k + i, BK) DECODE);
                coopMatLoadTensorNV(b, activations, 0, sliceTensorLayoutNV(b_inside, n0, WIDTH, k + i, BK), transposed);
                sum = coopMatMulAdd(a, b, sum);
            }
        }
    }
    // The last rows of A, or what is left of K.
    [[dont_unroll]] for (; k < end; k += BK) {
#ifdef DECODE_SCALES
        if (k % STEP == 0) {
            barrier();
            put_scales();
            barrier();
            if (k + STEP < end) {
                fetch_scales(m0, k + STEP);
            }
        }
#endif
        coopmat<COMPONENT, gl_ScopeWorkgroup, BM, BK, gl_MatrixUseA> a;
        coopmat<COMPONENT, gl_ScopeWorkgroup, BK, WIDTH, gl_MatrixUseB> b;
        coopMatLoadTensorNV(a, weights, 0, sliceTensorLayoutNV(a_edge, m0, BM, k, BK) DECODE);
        coopMatLoadTensorNV(b, activations, 0, sliceTensorLayoutNV(b_edge, n0, WIDTH, k, BK), transposed);
        sum = coopMatMulAdd(a, b, sum);
    }

    // D is stored with M innermost. A part of K has N rows of it, so the last row of this part is where the layout ends.
    const uint row = gl_WorkGroupID.z * p.N;
    const coopmat<float, gl_ScopeWorkgroup, BM, WIDTH, gl_MatrixUseAccumulator> d =
        coopmat<float, gl_ScopeWorkgroup, BM, WIDTH, gl_MatrixUseAccumulator>(sum);
    if (m0 + BM <= p.M && n0 + WIDTH <= p.N) {
        tensorLayoutNV<2> d_inside = createTensorLayoutNV(2);
        d_inside = setTensorLayoutDimensionNV(d_inside, row + p.N, p.M);
        coopMatStoreTensorNV(d, result, 0, sliceTensorLayoutNV(d_inside, row + n0, WIDTH, m0, BM), transposed);
    } else {
        tensorLayoutNV<2, gl_CooperativeMatrixClampModeConstantNV> d_edge =
            createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV);
        d_edge = setTensorLayoutDimensionNV(d_edge, row + p.N, p.M);
        coopMatStoreTensorNV(d, result, 0, sliceTensorLayoutNV(d_edge, row + n0, WIDTH, m0, BM), transposed);
    }
}
