"""Weight types: one row per type with every fact about it.

A new type is one row here, its GLSL in kernels/types/NAME and its class in vkprobe/formats.
Sources: ggml-common.h (blocks), ggml-vulkan.cpp and its shaders (everything else), of the revision of llama.cpp that `vkprobe.llama` names.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

RowUnit = Literal["one", "stdq", "kq"]
"""What a GEMV's rows are a multiple of: 1, or llama.cpp's `rm_stdq` or `rm_kq`, which depend on the vendor."""


class Q8_1(Struct, frozen=True, kw_only=True):  # noqa: N801  # ggml's name of the format
    """How a type multiplies with q8_1 activations: on path intdot, and on path coopmat with s32 accumulators.

    Attributes:
        gemv_rows: rows of a GEMV's workgroup, as a multiple of `gemv_unit`.
        staged_words: 32-bit words of a block of 32 weights in the GEMM's shared memory, its scales included.
        table_bytes: a lookup table in shared memory (B).
        scaled_products: the GEMM stages products of two scales, or a scale and an offset, in f16.
        gemv: llama.cpp has a GEMV for it by integer dot products.
        gemv_only_intel: llama.cpp takes that GEMV on Intel only, for any number of columns.
        gemv_nvidia: when llama.cpp takes it for one column on NVIDIA: always, for a long K, or for a long K before Turing.
        gemv_amd: the same on AMD: for a long K, or for a long K on GCN.
        gemv_intel: the same on Intel: for a long K; always on Xe2 and for a long K elsewhere; or never.
        gemm: llama.cpp has a GEMM for it by integer dot products.
        gemm_f32: it also has that GEMM for devices whose shaders don't compute in f16.
        int8_architectures: the architectures for which llama.cpp has a GEMM on int8 cooperative matrices.
        int8_scales: scales of a block of 32 in that GEMM, 1 or 2; with 2 its tiles have at most 64 rows.
        int8_offset: blocks have an offset in that GEMM.
        int8_table_bytes: shared memory that its lookup tables take (B).
    """

    gemv_rows: int = 1
    gemv_unit: RowUnit = "one"
    staged_words: int = 9
    table_bytes: int = 0
    scaled_products: bool = False
    gemv: bool = True
    gemv_only_intel: bool = False
    gemv_nvidia: Literal["always", "long", "before-turing"] = "long"
    gemv_amd: Literal["long", "gcn"] = "long"
    gemv_intel: Literal["long", "xe2", "never"] = "long"
    gemm: bool = True
    gemm_f32: bool = True
    int8_architectures: tuple[str, ...] = ("amd-rdna3", "amd-rdna4")
    int8_scales: int = 1
    int8_offset: bool = False
    int8_table_bytes: int = 0


class WeightType(Struct, frozen=True, kw_only=True):
    """One weight type.

    Attributes:
        elements: of a block, along K.
        bytes: of a block.
        component: of cooperative matrices that the weights are loaded into (f16, bf16).
        accumulators: that llama.cpp has for it on paths with a choice, its default first.
        k_type: one of ggml's K types.
        gemv_rows, gemv_unit: rows of a GEMV's workgroup.
        gemv_wide: its GEMV wants at least 16 invocations.
        gemv_most_rows: M up to which its GEMV has four subgroups a workgroup where llama.cpp has those.
        gemv_chunk: elements of a row that an invocation of its GEMV takes at once.
        gemv_scale_bytes: shared memory that scales of super-blocks take in its GEMV, for each invocation (B).
        scales: numbers that scale one element: 2 where there are an offset or two scales.
        table_bytes: shared memory that llama.cpp counts for lookup tables in a GEMM that stages through shared memory (B).
        matrix_scale_bytes: shared memory that a row's scales take in coopmat2 (B).
        matrix_table_bytes: shared memory that a lookup table takes in coopmat2 (B).
        matrix_roundings: roundings to f16 of a weight's scale and offset in coopmat2, its own value's apart.
        step_k: BK of a GEMM that stages through shared memory.
        q8_1: None where llama.cpp has no kernels of it for q8_1 activations.
        dequant: it is dequantised to f16 by a kernel of its own.
    """

    elements: int
    bytes: int
    component: str = "f16"
    accumulators: tuple[str, ...] = ("f16", "f32")
    k_type: bool = False
    gemv_rows: int = 1
    gemv_unit: RowUnit = "one"
    gemv_wide: bool = False
    gemv_most_rows: int = 8192
    gemv_chunk: int = 8
    gemv_scale_bytes: int = 0
    scales: int = 0
    table_bytes: int = 0
    matrix_scale_bytes: int = 0
    matrix_table_bytes: int = 0
    matrix_roundings: int = 0
    step_k: int = 32
    q8_1: Q8_1 | None = None
    dequant: bool = True

    @property
    def quantised(self) -> bool:
        """Whether elements share a block; those of floats don't."""
        return self.elements > 1

    def row_bytes(self, k: int) -> int:
        """Bytes of a row of `k` elements; rows have no padding."""
        return k // self.elements * self.bytes


WEIGHT_TYPES: dict[str, WeightType] = {
    "f32": WeightType(elements=1, bytes=4, accumulators=("f32",), dequant=False),
    "f16": WeightType(elements=1, bytes=2, gemv_rows=2, dequant=False),
    "bf16": WeightType(elements=1, bytes=2, component="bf16", accumulators=("f32",), gemv_rows=2, step_k=16),
    "q4_0": WeightType(
        elements=32, bytes=18, gemv_rows=2, gemv_unit="stdq", scales=1,
        q8_1=Q8_1(gemv_unit="stdq", staged_words=5, gemv_intel="never"),
    ),
    # In coopmat2 the product of d and a code is rounded before m is added (dequant_funcs_cm2.glsl:118, 202).
    # Rows: ggml-vulkan.cpp:2933-2935, with q8_1 2992-2994. Staged words: mul_mmq_shmem_types.glsl:22-41; one of fifth bits.
    "q4_1": WeightType(
        elements=32, bytes=20, gemv_rows=2, gemv_unit="stdq", scales=2, matrix_roundings=1,
        q8_1=Q8_1(gemv_unit="stdq", staged_words=5, int8_architectures=("amd-rdna3",), int8_offset=True),
    ),
    "q5_0": WeightType(
        elements=32, bytes=22, gemv_rows=2, gemv_unit="stdq", scales=1, q8_1=Q8_1(gemv_unit="stdq", staged_words=6),
    ),
    "q5_1": WeightType(
        elements=32, bytes=24, gemv_rows=2, gemv_unit="stdq", scales=2, matrix_roundings=1,
        q8_1=Q8_1(gemv_unit="stdq", staged_words=6, gemv_intel="never", int8_architectures=("amd-rdna3",), int8_offset=True),
    ),
    "q8_0": WeightType(
        elements=32, bytes=34, gemv_unit="stdq", scales=1,
        q8_1=Q8_1(gemv_unit="stdq", gemv_nvidia="before-turing", gemv_amd="gcn"),
    ),
    # In coopmat2 d times the scale, and that times the code, are rounded (dequant_funcs_cm2.glsl:341). Rows: ggml-vulkan.cpp:2937, with
    # q8_1 2999: 2 * rm_kq_int, which is 1 everywhere. Staged: two words of codes, two scales, d and dmin (mul_mmq_shmem_types.glsl:74). Its
    # GEMV has an array of scales and one of mins (mul_mat_vec_q2_k.comp:8).
    "q2_k": WeightType(
        elements=256, bytes=84, k_type=True, gemv_unit="kq", gemv_wide=True, gemv_chunk=16, gemv_scale_bytes=16, scales=2,
        matrix_roundings=2,
        q8_1=Q8_1(gemv_rows=2, staged_words=4, gemv_nvidia="always", gemv_intel="xe2", int8_architectures=()),
    ),
    # In coopmat2 d times the scale is rounded (dequant_funcs_cm2.glsl:396); rows: ggml-vulkan.cpp:2938, with q8_1 3000; staged:
    # mul_mmq_shmem_types.glsl:81; scales in its GEMV: mul_mat_vec_q3_k.comp:8.
    "q3_k": WeightType(
        elements=256, bytes=110, k_type=True, gemv_unit="kq", gemv_wide=True, gemv_chunk=16, gemv_scale_bytes=8, scales=2,
        matrix_roundings=1,
        q8_1=Q8_1(staged_words=5, scaled_products=True, gemv_nvidia="always", gemv_intel="xe2", int8_scales=2),
    ),
    "q4_k": WeightType(
        elements=256, bytes=144, k_type=True, gemv_unit="kq", gemv_wide=True, gemv_chunk=16, scales=2,
        matrix_scale_bytes=64, matrix_roundings=2,
        q8_1=Q8_1(staged_words=5, scaled_products=True, int8_architectures=("amd-rdna3",), int8_offset=True),
    ),
    "q5_k": WeightType(
        elements=256, bytes=176, k_type=True, gemv_unit="kq", gemv_wide=True, gemv_chunk=16, scales=2,
        matrix_scale_bytes=64, matrix_roundings=2,
        q8_1=Q8_1(scaled_products=True, int8_architectures=("amd-rdna3",), int8_offset=True),
    ),
    "q6_k": WeightType(
        elements=256, bytes=210, k_type=True, gemv_unit="kq", gemv_wide=True, gemv_most_rows=4095, gemv_chunk=16,
        gemv_scale_bytes=8, scales=2, matrix_roundings=2,
        q8_1=Q8_1(scaled_products=True, gemv_only_intel=True, gemv_intel="xe2", int8_scales=2),
    ),
    "iq4_xs": WeightType(
        elements=256, bytes=136, gemv_rows=2, gemv_unit="kq", gemv_wide=True, scales=1, table_bytes=64, matrix_table_bytes=32,
        matrix_roundings=1,
        q8_1=Q8_1(gemv_unit="stdq", table_bytes=16, gemv_intel="never", int8_table_bytes=16),
    ),
    # No kernels for q8_1 activations but those of int8 matrices (ggml-vulkan.cpp:2488, 2495); rows: 2952, 2954; tables: 1441-1451.
    "iq4_nl": WeightType(
        elements=32, bytes=18, gemv_rows=2, gemv_unit="kq", gemv_wide=True, scales=1, table_bytes=64, matrix_table_bytes=32,
        q8_1=Q8_1(gemm=False, gemv=False, int8_table_bytes=16),
    ),
    "mxfp4": WeightType(
        elements=32, bytes=17, gemv_rows=2, gemv_unit="kq", gemv_wide=True, scales=1, table_bytes=64, matrix_table_bytes=32,
        q8_1=Q8_1(gemv_rows=2, gemv_unit="stdq", table_bytes=16, gemv_nvidia="before-turing", gemm_f32=False, int8_table_bytes=16),
    ),
    # Its scales are looked up too: 128 of f32.
    "nvfp4": WeightType(
        elements=64, bytes=36, gemv_rows=2, gemv_unit="kq", gemv_wide=True, scales=1, table_bytes=576, matrix_table_bytes=528,
        q8_1=Q8_1(gemm=False, gemv=False, int8_architectures=("amd-rdna3",), int8_scales=2, int8_table_bytes=528),
    ),
}  # fmt: skip
"""Every type, in the order of tables."""

Q8_1_ELEMENTS = 32
"""Elements of a q8_1 block, in which integer paths read activations."""
Q8_1_GROUP_ELEMENTS, Q8_1_GROUP_BYTES = 4 * Q8_1_ELEMENTS, 144
"""A group of four q8_1 blocks, as activations lie on the device: 4 pairs of f16, then 128 int8."""
