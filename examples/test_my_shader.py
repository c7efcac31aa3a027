"""A driver's own shader in ten lines of test: `pytest examples/test_my_shader.py --vk-driver PATH_OF_ICD_MANIFEST`.

saxpy.spv is `glslc -O --target-env=vulkan1.2 saxpy.comp -o saxpy.spv`.
"""

from pathlib import Path

import numpy as np
import pytest

X, Y = np.arange(1 << 16, dtype=np.float32), np.ones(1 << 16, np.float32)


def test_saxpy(vk_kernel, gpu_benchmark):
    """Right, and its time in pytest-benchmark's table."""
    spv = Path(__file__).with_name("saxpy.spv")
    saxpy = vk_kernel(spv, bindings=[X, Y], push=(X.size, 2.0), constants={0: 64}, groups=X.size // 64)
    _, y = saxpy.run()
    np.testing.assert_array_equal(y, 2 * X + Y)
    gpu_benchmark(saxpy, repeat=10, rounds=20)


def test_saxpy_does_not_spill(vk_kernel):
    """The driver's compiler reports spills, for null devices too (`--vk-driver radv:gfx1201`)."""
    spv = Path(__file__).with_name("saxpy.spv")
    saxpy = vk_kernel(spv, bindings=[X, Y], push=(X.size, 2.0), constants={0: 64}, groups=X.size // 64)
    if saxpy.statistics.spills is None:
        pytest.skip("this driver does not report spills")
    assert saxpy.statistics.spills == 0


def test_vkprobes_own_gemm(vk_kernel, gpu_benchmark):
    """llama.cpp's kernel in kind, verified as `vkprobe gemm` verifies it."""
    gemm = vk_kernel("gemm", type="q4_0", shape=(256, 32, 256), path="scalar-f32")
    assert gemm.run().nmse < 1e-5
    gpu_benchmark(gemm, rounds=3, warmup_rounds=1)
