"""llama.cpp's Vulkan backend as rules: which path, tile, split, subgroup size and activations it takes for a product on a device.

Every rule is a pure function of a device's facts and of a weight type's row in `vkprobe.weights`. `paths.choose` says which path
llama.cpp takes; `layout.gemm_layout` and `layout.gemv_layout` say how it runs any path. What `gaps` reports and what is compiled and
timed both come from there.

All "Source: FILE:LINE" notes in this package are lines of `REVISION`, in ggml/src/ggml-vulkan and its vulkan-shaders.
"""

REVISION = "0c1e57098"
"""The revision of llama.cpp that every rule here follows: the copy in the source distribution of llama-cpp-python 0.3.36."""
