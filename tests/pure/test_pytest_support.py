"""vk_kernel without a driver: reading modules and packing constants."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vkprobe.errors import UsageError
from vkprobe.kernels import kernels
from vkprobe.pytest_support import pack, spirv
from vkprobe.spirv_enables import capability
from vkprobe.worker.modules import load

SAXPY = Path(__file__).parents[2] / "examples" / "saxpy.spv"
SHORT = ([1 << 16 | 17], [1 << 16 | 15], [2 << 16 | 15, 5], [2 << 16 | 71, 1], [3 << 16 | 71, 1, 33], [3 << 16 | 71, 1, 34])


def test_capabilities_are_those_of_the_manifest() -> None:
    """Every checked-in module has the capabilities that spirv-dis names."""
    for name, kernel in kernels().items():
        assert sorted(set(spirv.read(load(name), name).capabilities)) == sorted(set(kernel.capabilities)), name


def test_capabilities_have_names_of_the_registry() -> None:
    """Each can be looked up, so that what it needs is enabled."""
    assert [name for name in spirv.CAPABILITIES.values() if not capability(name)] == []


def test_the_example_is_read() -> None:
    """Bindings and version."""
    module = spirv.read(SAXPY.read_bytes(), "saxpy.spv")
    assert (module.bindings, module.version, module.capabilities) == (frozenset({0, 1}), (1, 5), ("Shader",))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"#version 450\nvoid main() {}\n", "GLSL is compiled first"),
        (SAXPY.read_bytes()[:-6], "cut short"),
        (SAXPY.read_bytes()[:20] + b"\xff\xff\xff\xff", "not a whole SPIR-V module"),
        *((SAXPY.read_bytes()[:20] + struct.pack(f"<{len(w)}I", *w), "lacks operands") for w in SHORT),
        (SAXPY.read_bytes().replace(b"main", b"mine"), "no compute entry point `main`; there is mine"),
        (b"", "not a SPIR-V module"),
    ],
)
def test_a_file_that_is_no_compute_shader_is_refused(data: bytes, message: str) -> None:
    """The error has the file's name and the remedy."""
    with pytest.raises(UsageError, match=r"^x\.spv: ") as raised:
        spirv.read(data, "x.spv")
    assert message in str(raised.value)


def test_constants_are_packed_as_shaders_read_them() -> None:
    """Signed, unsigned, f32, NumPy's scalars and arrays, bytes; ids as they are given."""
    assert pack.words((np.uint16(7), np.float32(1.5), -2, True)) == [7, 0x3FC00000, 0xFFFFFFFE, 1]
    assert pack.words(np.array([1, 2], np.uint64)) == [1, 0, 2, 0]
    assert pack.words(None) == []
    assert pack.words(5) == [5]
    assert pack.constants({3: 1.0, 0: 64}) == [(3, 0x3F800000), (0, 64)]
    assert pack.grid((8, 4, 2)) == [8, 4, 2]
    assert [pack.grid(g) for g in (np.array([8, 4]), np.array(8), np.int64(8), 8.0)] == [[8, 4, 1], *[[8, 1, 1]] * 3]


@pytest.mark.parametrize("value", [1 << 32, -(1 << 31) - 1, "1", None, np.float64(1.0), np.int64(1), 1e39])
def test_a_constant_that_is_not_32_bits_is_refused(value: Any) -> None:
    """Instead of being cut."""
    with pytest.raises(UsageError, match=r"^constant "):
        pack.word(value)


@pytest.mark.parametrize(
    "groups", [0, (1, 0), (1, 1, 1, 1), (), "8", None, 1.5, float("inf"), float("nan"), np.zeros((2, 2)), np.array([])]
)
def test_a_grid_that_is_none_is_refused(groups: Any) -> None:
    """One to three whole numbers."""
    with pytest.raises(UsageError, match=r"^groups "):
        pack.grid(groups)
