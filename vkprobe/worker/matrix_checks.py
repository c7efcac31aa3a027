"""Checks of cooperative-matrix features: reductions, conversions, per-element operations, tensor addressing, block loads, coordinates.

All inputs are small integers, so that every result is exact in any order of evaluation.
Source: GL_NV_cooperative_matrix2, GL_NV_cooperative_matrix_decode_vector; SPV_EXT_cooperative_matrix_maintenance1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vkprobe.formats.components import COMPONENTS, F64, decode, encode
from vkprobe.worker.checks import Check, Input, Outcome, Run, differing

_SEED = 20261122
_CLAMP = -3.0
_A, _B, _C = 0, 1, 3  # bindings of inputs

_ROW, _COLUMN, _ALL, _MAXIMUM = 1, 2, 3, 4
_REDUCTIONS = {_ROW: "each row", _COLUMN: "each column", _ALL: "rows and columns"}


def _shape(parameters: Mapping[str, Any]) -> tuple[int, int, str]:
    return int(parameters["m"]), int(parameters["n"]), str(parameters["type"])


def _whole(m: int, n: int, bound: int) -> F64:
    return np.random.default_rng([_SEED, m, n]).integers(-bound, bound + 1, (m, n)).astype(np.float64)


def _summable(m: int, n: int, terms: int, most: int) -> F64:
    """Integers of which no sum of up to `terms` leaves -most to most, whatever the order of additions."""
    values = _whole(m, n, max(1, min(8, most // terms)))
    if terms > most:  # even ones are too many: zeros between them
        kept = np.random.default_rng(_SEED).permutation(m * n)[:most]
        values = np.where(np.isin(np.arange(m * n), kept).reshape(m, n), values, 0.0)
    return values


def _read(output: Input, name: str, shape: tuple[int, ...]) -> F64:
    return decode(name, output.view(COMPONENTS[name].storage)).reshape(shape)


def _bytes(name: str, count: int) -> int:
    return count * np.dtype(COMPONENTS[name].storage).itemsize


def reductions(run: Run, parameters: Mapping[str, Any]) -> Outcome:
    """Sums and maxima of rows, columns, everything; with `half` of each 2x2, into a matrix half as high and wide."""
    m, n, name = _shape(parameters)
    values = _summable(m, n, 4 if parameters.get("half") else m * n, 2 ** COMPONENTS[name].precision)
    for reduction, words in _REDUCTIONS.items() if not parameters.get("half") else {0: "each 2x2"}.items():
        for maximum in (False, True):
            wanted = reduced(values, reduction, maximum)
            output = run({_C: encode(name, values)}, _bytes(name, wanted.size), (reduction + _MAXIMUM * maximum, 0, 0))
            wrong = differing(_read(output, name, wanted.shape), wanted, "mn")
            if wrong:
                return f"the {'maximum' if maximum else 'sum'} of {words}: {wrong}", {}
    return None, {}


def reduced(values: F64, reduction: int, maximum: bool) -> F64:
    """The reduction as the matrix that results: each row's, column's or the whole's in every element, or each 2x2's.

    >>> reduced(np.array([[1.0, 2.0], [3.0, 5.0]]), 1, False).tolist()
    [[3.0, 3.0], [8.0, 8.0]]
    """
    combine = np.max if maximum else np.sum
    m, n = values.shape
    result: F64
    if reduction == 0:
        result = combine(values.reshape(m // 2, 2, n // 2, 2), axis=(1, 3))
    else:
        axes = {_ROW: (1,), _COLUMN: (0,), _ALL: (0, 1)}[reduction]
        result = np.broadcast_to(combine(values, axis=axes, keepdims=True), values.shape)
    return result


_TO = ("to use A", "to use B", "to use B, transposed")


def conversions(run: Run, parameters: Mapping[str, Any]) -> Outcome:
    """An accumulator becomes an f16 matrix of use A, of use B, and of use B transposed."""
    m, n, name = _shape(parameters)
    values = _whole(m, n, 64)
    for mode, words in enumerate(_TO):
        wanted = values.T if mode == 2 else values
        output = run({_C: encode(name, values)}, _bytes("f16", values.size), (mode, 0, 0))
        wrong = differing(_read(output, "f16", wanted.shape), wanted, "mn")
        if wrong:
            return f"{name} {words}: {wrong}", {}
    return None, {} if name == "f16" else {"rounding": _rounding(run, m, n)}


def _rounding(run: Run, m: int, n: int) -> str:
    """How the conversion from f32 to f16 rounds."""
    values = np.zeros((m, n))
    values[0, :4] = 1 + 2.0**-11, 1 + 3 * 2.0**-11, 1 + 2.0**-11 + 2.0**-20, -1 - 2.0**-11 - 2.0**-20
    output = run({_C: encode("f32", values)}, _bytes("f16", values.size), (0, 0, 0))
    actual = _read(output, "f16", (m, n))[0, :4].tolist()
    step = 2.0**-10
    names = {(1.0, 1 + 2 * step, 1 + step, -1 - step): "to nearest even", (1.0, 1 + step, 1.0, -1.0): "toward zero"}
    return names.get(tuple(actual), "otherwise")


_SCALE = 2


def elements(run: Run, parameters: Mapping[str, Any]) -> Outcome:
    """x * scale + y + a number of its place: each element gets its row and column, a scalar and another matrix's element."""
    m, n, name = _shape(parameters)
    x, y = _whole(m, n, 4), _whole(n, m, 4).T
    wanted = x * _SCALE + y + (np.arange(m)[:, None] % 32 * 32 + np.arange(n)[None, :] % 32)
    inputs = {_B: encode(name, y), _C: encode(name, x)}
    output = run(inputs, _bytes(name, m * n), (_SCALE, 0, 0))
    return differing(_read(output, name, (m, n)), wanted, "mn"), {}


def coordinates(run: Run, parameters: Mapping[str, Any]) -> Outcome:
    """Elements stored one by one where their coordinates say make the matrix again."""
    m, n, name = _shape(parameters)
    values = _whole(m, n, 100)
    output = run({_C: encode(name, values)}, _bytes(name, m * n), (0, 0, 0))
    return differing(_read(output, name, (m, n)), values, "mn"), {}


_CONSTANT, _EDGE, _REPEAT, _MIRROR, _TRANSPOSED, _STORED, _STORED_TRANSPOSED = range(1, 8)
_LOADS = {
    0: "a load of a slice",
    _CONSTANT: "a load beyond the edges, clamped to a constant",
    _EDGE: "a load beyond the edges, clamped to the edge",
    _REPEAT: "a load beyond the edges, repeated",
    _MIRROR: "a load beyond the edges, mirrored",
    _TRANSPOSED: "a load through a transposing view",
}


def tensors(run: Run, parameters: Mapping[str, Any]) -> Outcome:
    """Slices loaded and stored, inside, across each edge, and transposed; rows lie `stride` elements apart."""
    m, n, name = _shape(parameters)
    stride = int(parameters["stride"])
    rows = columns = max(m, n) + 5
    tensor = _whole(rows, stride, 100)
    extent = rows | columns << 16
    across = [(-2, -1), (rows - m + 2, columns - n + 1)]
    for mode, words in _LOADS.items():
        for row, column in [(2, 1)] if mode in (0, _TRANSPOSED) else across:
            wanted = sliced(tensor[:, :columns], row, column, (m, n), mode)
            push = (mode, extent, _offset(row, column))
            output = run({_A: encode(name, tensor)}, _bytes(name, m * n), push)
            wrong = differing(_read(output, name, (m, n)), wanted, "mn")
            if wrong:
                return f"{words} at row {row}, column {column}: {wrong}", {}
    return _stores(run, (m, n, name), (rows, columns, stride), across), {}


def _stores(run: Run, matrix: tuple[int, int, str], tensor: tuple[int, int, int], across: list[tuple[int, int]]) -> str | None:
    m, n, name = matrix
    rows, columns, stride = tensor
    values = _whole(m, n, 100)
    bits = np.dtype(f"u{np.dtype(COMPONENTS[name].storage).itemsize}")
    for mode, places in ((_STORED, [(2, 1), *across]), (_STORED_TRANSPOSED, [(1, 2)])):
        for row, column in places:
            wanted = np.full((rows, stride), np.iinfo(bits).max, bits)
            block = encode(name, values.T if mode == _STORED_TRANSPOSED else values).view(bits)
            top, left = max(row, 0), max(column, 0)
            bottom, right = min(row + block.shape[0], rows), min(column + block.shape[1], columns)
            wanted[top:bottom, left:right] = block[top - row : bottom - row, left - column : right - column]
            push = (mode, rows | columns << 16, _offset(row, column))
            output = run({_C: encode(name, values)}, _bytes(name, rows * stride), push)
            wrong = differing(output.view(bits).reshape(rows, stride), wanted, "mn")
            if wrong:
                words = "a store through a transposing view" if mode == _STORED_TRANSPOSED else "a store of a slice"
                return f"{words} at row {row}, column {column}, as bits: {wrong}"
    return None


def _offset(row: int, column: int) -> int:
    return (row & 0xFFFF) | (column & 0xFFFF) << 16


def sliced(tensor: F64, row: int, column: int, shape: tuple[int, int], mode: int) -> F64:
    """The M x N matrix that a load of a slice at (row, column) gives.

    >>> sliced(np.array([[1.0, 2.0], [3.0, 4.0]]), 1, 1, (2, 2), 1).tolist()
    [[4.0, -3.0], [-3.0, -3.0]]
    """
    m, n = shape
    if mode == _TRANSPOSED:
        transposed: F64 = tensor[row : row + n, column : column + m].T
        return transposed
    at_row, at_column = _clamped(row + np.arange(m), tensor.shape[0], mode), _clamped(column + np.arange(n), tensor.shape[1], mode)
    inside = ((at_row >= 0) & (at_row < tensor.shape[0]))[:, None] & ((at_column >= 0) & (at_column < tensor.shape[1]))[None, :]
    values: F64 = tensor[np.clip(at_row, 0, tensor.shape[0] - 1)[:, None], np.clip(at_column, 0, tensor.shape[1] - 1)[None, :]]
    return np.where(inside, values, _CLAMP)


def _clamped(at: Input, size: int, mode: int) -> Input:
    if mode == _EDGE:
        return np.clip(at, 0, size - 1)
    if mode == _REPEAT:
        return at % size
    if mode == _MIRROR:
        period = 2 * size - 2
        folded = at % period
        return np.where(folded >= size, period - folded, folded)
    return at


_BLOCK, _BLOCK_BYTES = 32, 18


def blocks(run: Run, parameters: Mapping[str, Any]) -> Outcome:
    """Rows of q4_0 blocks decoded to f16 in the load: inside, from the middle of a block, and beyond the last row and column."""
    m, n, _ = _shape(parameters)
    across = -(-n // _BLOCK) + 2
    rows, columns = m + 3, across * _BLOCK
    stored, tensor = q4_0(rows, across)
    for row, column in ((0, 0), (1, 16), (2, 4), (rows - m + 2, columns - n + 8)):
        wanted = sliced(tensor, row, column, (m, n), _CONSTANT)
        wanted[(row + np.arange(m) >= rows)[:, None] | (column + np.arange(n) >= columns)[None, :]] = 0.0  # the clamp value
        output = run({_A: stored}, _bytes("f16", m * n), (0, rows | columns << 16, _offset(row, column)))
        wrong = differing(_read(output, "f16", (m, n)), wanted, "mn")
        if wrong:
            return f"q4_0 blocks from row {row}, column {column}: {wrong}", {}
    return None, {}


def q4_0(rows: int, across: int) -> tuple[Input, F64]:
    """Random q4_0 blocks, `across` a row: their bytes, and their values. Scales are powers of two: every value is exact."""
    rng = np.random.default_rng([_SEED, rows, across])
    numbers = rng.integers(0, 16, (rows, across, _BLOCK))
    scales = 2.0 ** rng.integers(-3, 2, (rows, across, 1))
    stored = np.empty((rows, across, _BLOCK_BYTES), np.uint8)
    stored[..., :2] = scales.astype("<f2").view(np.uint8)
    stored[..., 2:] = numbers[..., :16] | numbers[..., 16:] << 4
    padded = np.zeros(-(-stored.size // 16) * 16, np.uint8)
    padded[: stored.size] = stored.reshape(-1)
    return padded, ((numbers - 8) * scales).reshape(rows, -1)


MATRIX_CHECKS: Mapping[str, Check] = {
    "reductions": reductions,
    "conversions": conversions,
    "elements": elements,
    "coordinates": coordinates,
    "tensors": tensors,
    "blocks": blocks,
}
