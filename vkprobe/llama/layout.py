"""How llama.cpp runs a matrix product on a given path: everything that follows from the device, the weight type and the shape.

`paths.choose`, which says what llama.cpp takes, and the planners, which compile and time a path, call the same two functions.
"""

from __future__ import annotations

from msgspec import Struct

from vkprobe.llama.activations import gemm_activations, gemv_activations, weights_form
from vkprobe.llama.bounds import Subgroups, gemm_robust, gemm_subgroups, gemv_robust, gemv_subgroups
from vkprobe.llama.device import Limits, Matrix
from vkprobe.llama.int_tiles import gemm_tile as intdot_tile
from vkprobe.llama.int_tiles import int8_constants, int8_shared_bytes, int8_tile
from vkprobe.llama.int_tiles import shared_bytes as intdot_bytes
from vkprobe.llama.matrix_tiles import MatrixTile, matrix_tile, reduced_bytes, rows_aligned
from vkprobe.llama.rows import Rows, gemv_rows, q8_1_rows
from vkprobe.llama.split import Split, split
from vkprobe.llama.tiles import Tile, gemm_aligned, gemm_tile
from vkprobe.program import Conversion
from vkprobe.weights import WEIGHT_TYPES


class GemmLayout(Struct, frozen=True, kw_only=True):
    """How D[n, m] = B[n, k] * A[m, k]^T is computed.

    Attributes:
        constants: the kernel's specialisation constants by name.
        aligned: the kernel has no tail along K.
        groups: the grid; z is the parts of K.
        weights: the type that the kernel reads weights in.
        shared_bytes: shared memory of a workgroup (B), without what a driver reserves for itself.
        subgroup: the subgroup size that the kernel is compiled for.
        subgroups: what the pipeline asks of subgroups.
        robust: llama.cpp leaves buffer accesses bounds-checked.
    """

    tile: Tile | MatrixTile
    constants: dict[str, int]
    aligned: bool
    groups: tuple[int, int, int]
    weights: str
    activations: Conversion
    split: Split
    shared_bytes: int
    subgroup: int
    subgroups: Subgroups
    robust: bool

    def __str__(self) -> str:
        return str(self.tile) if self.aligned else f"{self.tile} unaligned"


class GemvLayout(Struct, frozen=True, kw_only=True):
    """How D[n, m] = B[n, k] * A[m, k]^T is computed for a few columns; attributes as in `GemmLayout`.

    Attributes:
        groups: workgroups along M; `device.fold` makes a grid of them.
    """

    rows: Rows
    columns: int
    constants: dict[str, int]
    aligned: bool
    groups: int
    activations: Conversion
    shared_bytes: int
    subgroup: int
    subgroups: Subgroups
    robust: bool

    def __str__(self) -> str:
        return f"n{self.columns} {self.rows}"  # one pipeline for any K


def gemm_layout(
    limits: Limits,
    weight_type: str,
    m: int,
    n: int,
    k: int,
    path: str,
    accumulator: str,
    matrix: Matrix | None = None,
    *,
    reduced: bool = False,
) -> GemmLayout:
    """The layout of a GEMM.

    Args:
        path: scalar-f32, scalar-f16, dot2, intdot, coopmat or coopmat2.
        accumulator: f16 or f32; s32 on path coopmat means int8 matrices and q8_1 activations.
        matrix: the cooperative matrix's M, N, K on path coopmat and for the reduced kernel; llama.cpp's where None.
        reduced: the kernel that vkprobe has for devices with part of coopmat2.

    Raises:
        KeyError: llama.cpp has no such kernel for the type.
        ValueError: the path needs a matrix, and the device lists none.
    """
    shape = m, n
    if path == "coopmat2" and not reduced:
        tile: Tile | MatrixTile = matrix_tile(weight_type, *shape, limits.cores or 0)
        assert isinstance(tile, MatrixTile)
        aligned, shared, subgroup = rows_aligned(k), tile.shared_bytes(weight_type), limits.subgroup
    elif path == "coopmat" and accumulator == "s32":
        tile = int8_tile(limits, weight_type, *shape, _given(matrix or limits.int8_matrix))
        aligned, shared, subgroup = True, int8_shared_bytes(tile, weight_type), tile.warp
    elif path == "intdot":
        tile = intdot_tile(limits, weight_type, *shape)
        aligned, shared, subgroup = True, intdot_bytes(tile, weight_type), limits.subgroup
    else:
        used = _given(matrix or limits.matrix) if path in ("coopmat", "coopmat2") else None
        tile = gemm_tile(limits, weight_type, path, *shape, used)
        aligned, shared, subgroup = gemm_aligned(tile, *shape, k), tile.shared_bytes(path, accumulator), tile.warp
        if reduced:
            shared = reduced_bytes(tile.bm)
    parts = split(tile.bm, tile.bn, m, n, k, limits.cores or 0)
    return GemmLayout(
        tile=tile,
        constants=int8_constants(tile, limits) if isinstance(tile, Tile) and accumulator == "s32" else tile.constants(aligned),
        aligned=aligned,
        groups=(-(-m // tile.bm), -(-n // tile.bn), parts.parts),
        weights=weights_form(weight_type, path),
        activations=gemm_activations(weight_type, path, accumulator, n, tile.bn),
        split=parts,
        shared_bytes=shared,
        subgroup=subgroup,
        subgroups=gemm_subgroups(limits, "coopmat" if reduced else path, accumulator, subgroup),
        robust=gemm_robust(limits, path, reduced=reduced),
    )


def _given(matrix: Matrix | None) -> Matrix:
    if matrix is None:
        raise ValueError("the device lists no cooperative matrix for this path")
    return matrix


def gemv_layout(limits: Limits, weight_type: str, m: int, n: int, k: int, path: str) -> GemvLayout:
    """The layout of a GEMV.

    Args:
        path: scalar-f32, or intdot for q8_1 activations.

    Raises:
        KeyError: llama.cpp has no such kernel for the type.
    """
    of_q8_1 = path == "intdot"
    rows = q8_1_rows(limits, weight_type, m, n, k) if of_q8_1 else gemv_rows(limits, weight_type, m, k)
    return GemvLayout(
        rows=rows,
        columns=n,
        constants=rows.constants(n),
        aligned=of_q8_1 or k % 4 == 0,
        groups=-(-m // rows.rows),
        activations=gemv_activations(path, n),
        shared_bytes=rows.shared_bytes(n, WEIGHT_TYPES[weight_type].gemv_scale_bytes, WEIGHT_TYPES[weight_type].table_bytes),
        subgroup=rows.subgroup,
        subgroups=gemv_subgroups(limits, weight_type, path, rows.subgroup, rows.reduce),
        robust=gemv_robust(limits, weight_type),
    )
