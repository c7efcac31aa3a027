"""Checks of the ladder's features against devices simulated in numpy: right devices pass, wrong ones are reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from vkprobe.formats.components import decode, encode
from vkprobe.worker.checks import Input, differing, merge
from vkprobe.worker.matrix_checks import MATRIX_CHECKS, q4_0, reduced, sliced
from vkprobe.worker.number_checks import NUMBER_CHECKS, code_values
from vkprobe.worker.subgroup_checks import SUBGROUP_CHECKS, expected

CHECKS = {**MATRIX_CHECKS, **NUMBER_CHECKS, **SUBGROUP_CHECKS}

Player = Callable[[Mapping[int, Input], int, tuple[int, int, int], int], Input]
_A, _B, _C = 0, 1, 3


def outcome(check: str, play: Player, **parameters: Any) -> tuple[str | None, dict[str, Any]]:
    """The result of a check on a device that `play` simulates."""

    def run(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int = 1) -> Input:
        output = np.ascontiguousarray(play(inputs, output_bytes, push, groups)).view(np.uint8).reshape(-1)
        assert output.size == output_bytes
        return output

    return CHECKS[check](run, parameters)


def reducing(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
    """A device that reduces 8 x 16 matrices of f16 as requested."""
    m = decode("f16", inputs[_C])
    combine = np.max if push[0] >= 4 else np.sum
    result = combine(m, axis={1: 1, 2: 0, 3: None}[push[0] % 4], keepdims=True)
    return encode("f16", np.broadcast_to(result, m.shape))


def test_reductions_that_are_right_pass() -> None:
    """Every kind of reduction passes."""
    assert outcome("reductions", reducing, m=8, n=16, type="f16") == (None, {})


def test_a_reduction_of_one_part_only_is_reported() -> None:
    """Lavapipe reduces the lower half of a matrix that it splits like this."""

    def forgetful(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
        result = decode("f16", reducing(inputs, output_bytes, push, groups)).copy()
        result[4:] = 77
        return encode("f16", result)

    wrong, _ = outcome("reductions", forgetful, m=8, n=16, type="f16")
    assert wrong is not None
    assert wrong.startswith("the sum of each row: 64 of 128 elements differ, the first at m=4 n=0: 77 instead of")


def test_an_output_that_was_never_written_is_reported() -> None:
    """All ones are NaN."""
    wrong, _ = outcome("reductions", lambda i, size, p, g: np.full(size, 255, np.uint8), m=8, n=8, type="f32", half=True)
    assert wrong is not None
    assert "the sum of each 2x2: 16 of 16 elements differ, the first at m=0 n=0: nan instead of" in wrong


def test_sums_stay_exact_in_f16() -> None:
    """No partial sum leaves f16's integers, however large the matrix."""
    seen: list[Input] = []

    def play(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
        seen.append(decode("f16", inputs[_C]))
        return reducing(inputs, output_bytes, push, groups)

    for m, n in ((8, 8), (64, 96), (128, 192)):
        assert outcome("reductions", play, m=m, n=n, type="f16") == (None, {})
        assert np.abs(seen[-1]).sum() <= 2048
        assert np.count_nonzero(seen[-1]) > 30


def test_2x2_reductions_take_neighbours() -> None:
    """They don't reduce the four quarters."""
    m = np.arange(16.0).reshape(4, 4)
    assert reduced(m, 0, False).tolist() == [[10.0, 18.0], [42.0, 50.0]]
    assert reduced(m, 0, True).tolist() == [[5.0, 7.0], [13.0, 15.0]]


@pytest.mark.parametrize("transposes", [True, False])
def test_conversions_report_a_false_transpose(transposes: bool) -> None:
    """The other conversions report how they round."""

    def play(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
        m = inputs[_C].astype("<f2")
        return np.ascontiguousarray(m.T) if push[0] == 2 and transposes else m

    wrong, facts = outcome("conversions", play, m=8, n=8, type="f32")
    assert (wrong is None) == transposes
    assert facts == ({"rounding": "to nearest even"} if transposes else {})
    assert wrong is None or wrong.startswith("f32 to use B, transposed: ")


def test_elements_report_rows_taken_for_columns() -> None:
    """The operation's own row and column are part of its result."""

    def play(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
        x, y = decode("f16", inputs[_C]), decode("f16", inputs[_B])
        row, column = np.indices(x.shape)
        return encode("f16", x * push[0] + y + column % 32 * 32 + row % 32)

    wrong, _ = outcome("elements", play, m=8, n=8, type="f16")
    assert wrong is not None
    assert "56 of 64 elements differ, the first at m=0 n=1" in wrong


def addressed(layout: Mapping[str, Any], row: int, column: int, n: int) -> tuple[int, int] | None:
    """Where a matrix element lies in the tensor by the extension's own steps, one coordinate at a time; None for a clamp to a constant."""
    span, mode = layout["span"], layout["mode"]
    index = row * n + column
    if layout["view"]:
        coordinate = [0, 0]
        for dimension in (1, 0):
            i = layout["view"][dimension]
            coordinate[i] = index % span[i]
            index //= span[i]
        index = coordinate[0] * span[1] + coordinate[1]
    at = []
    for dimension, value in enumerate((index // span[1], index % span[1])):
        c, size = value + layout["offset"][dimension], layout["dimension"][dimension]
        if not 0 <= c < size:
            if mode == 1:
                return None
            if mode == 2:
                c = min(max(c, 0), size - 1)
            elif mode == 3:
                c %= size
            else:
                c %= 2 * size - 2
                c = 2 * size - 2 - c if c >= size else c
        at.append(c)
    return at[0], at[1]


@pytest.mark.parametrize(
    ("mode", "offset"), [(0, (2, 1)), (5, (2, 1)), *((mode, at) for mode in (1, 2, 3, 4) for at in ((2, 1), (-2, -1), (7, 8), (-9, 12)))]
)
def test_slices_are_what_the_extension_says(mode: int, offset: tuple[int, int]) -> None:
    """Every clamp mode and the transposing view, against its algorithm taken step by step."""
    m, n = 6, 4
    tensor = np.arange(11.0 * 9).reshape(11, 9)
    span = (n, m) if mode == 5 else (m, n)
    layout = {"span": span, "mode": mode, "view": (1, 0) if mode == 5 else None, "offset": offset, "dimension": tensor.shape}
    wanted = np.empty((m, n))
    for row in range(m):
        for column in range(n):
            place = addressed(layout, row, column, n)
            wanted[row, column] = -3.0 if place is None else tensor[place]
    assert np.array_equal(sliced(tensor, *offset, (m, n), mode), wanted)


def tensor_device(inputs: Mapping[int, Input], push: tuple[int, int, int], stride: int, shape: tuple[int, int]) -> Input:
    """A device of 8 x 8 f16 matrices that addresses tensors as the extension says."""
    mode, extent, packed = push
    rows, columns = extent & 0xFFFF, extent >> 16
    row, column = (int(np.int16(np.uint16(packed >> s & 0xFFFF))) for s in (0, 16))
    if mode < 6:
        tensor = decode("f16", inputs[_A]).reshape(-1, stride)[:rows, :columns]
        return encode("f16", sliced(tensor, row, column, shape, mode))
    m = inputs[_C].T if mode == 7 else inputs[_C]
    output = np.full((rows, stride), 0xFFFF, np.uint16)
    for i in range(m.shape[0]):
        for j in range(m.shape[1]):
            if 0 <= row + i < rows and 0 <= column + j < columns:
                output[row + i, column + j] = m.view(np.uint16)[i, j]
    return output


def test_tensors_that_are_addressed_right_pass() -> None:
    """Loads and stores."""
    assert outcome("tensors", lambda i, s, p, g: tensor_device(i, p, 24, (8, 8)), m=8, n=8, type="f16", stride=24) == (None, {})


def test_a_store_beyond_the_edge_is_reported() -> None:
    """It must be dropped: what lies there is somebody else's."""

    def careless(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
        output = tensor_device(inputs, push, 24, (8, 8))
        if push[0] == 6 and push[2] >> 16 == 6:
            output[12, 20] = 0  # in the padding
        return output

    wrong, _ = outcome("tensors", careless, m=8, n=8, type="f16", stride=24)
    assert wrong is not None
    assert wrong.startswith(
        "a store of a slice at row 7, column 6, as bits: 1 of 312 elements differ, the first at m=12 n=20: 0 instead of 65535"
    )


def test_clamping_that_repeats_is_reported() -> None:
    """The message names the clamping mode."""

    def play(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
        return tensor_device(inputs, (3 if push[0] == 2 else push[0], *push[1:]), 24, (8, 8))

    wrong, _ = outcome("tensors", play, m=8, n=8, type="f16", stride=24)
    assert wrong is not None
    assert wrong.startswith("a load beyond the edges, clamped to the edge at row -2, column -1: ")


def test_q4_0_blocks_are_ggml_s() -> None:
    """Bytes and values agree with gguf's own dequantisation."""
    quants = pytest.importorskip("gguf.quants", reason="pip install gguf")
    from gguf import GGMLQuantizationType

    stored, values = q4_0(5, 3)
    assert np.array_equal(quants.dequantize(stored[: 5 * 3 * 18].reshape(5, -1), GGMLQuantizationType.Q4_0), values)


def test_nibbles_in_the_wrong_order_are_reported() -> None:
    """A decode that takes neighbours from one byte, as other formats have it."""
    m = n = 16

    def play(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
        rows, columns = push[1] & 0xFFFF, push[1] >> 16
        blocks = inputs[_A][: rows * columns // 32 * 18].reshape(-1, 18)
        scale = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float64)
        low, high = blocks[:, 2:] & 15, blocks[:, 2:] >> 4
        numbers = np.stack([low, high], axis=2).reshape(-1, 32).astype(np.float64)
        tensor = ((numbers - 8) * scale).reshape(rows, columns)
        return encode("f16", sliced(tensor, push[2] & 0xFFFF, push[2] >> 16, (m, n), 0))

    wrong, _ = outcome("blocks", play, m=m, n=n, type="f16")
    assert wrong is not None
    assert wrong.startswith("q4_0 blocks from row 0, column 0: ")


def test_coordinates_that_are_swapped_are_reported() -> None:
    """The matrix comes back transposed."""
    wrong, _ = outcome("coordinates", lambda i, s, p, g: np.ascontiguousarray(i[_C].T), m=8, n=8, type="f32")
    assert wrong is not None
    assert "of 64 elements differ, the first at m=0 n=1: " in wrong


def to_bf16(words: Input) -> Input:
    """f32 bits to bf16's, rounded to the nearest, ties to even; NaN stays NaN."""
    rounded = (words + 0x7FFF + (words >> 16 & 1)) >> 16
    return np.where((words & 0x7FFFFFFF) > 0x7F800000, words >> 16 | 0x40, rounded).astype(np.uint32)


def test_bf16_rounding_and_overflow_are_facts() -> None:
    """Both roundings are allowed: to nearest even and toward zero."""

    def play(truncates: bool) -> Player:
        def device(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
            words = inputs[_A]
            if push[0] == 0:
                return words << 16
            return np.asarray(words >> 16 if truncates else to_bf16(words))

        return device

    for truncates, facts in ((False, {"rounding": "to nearest even", "overflow": "infinity"}), (True, {"rounding": "toward zero"})):
        wrong, seen = outcome("numbers", play(truncates), type="bf16", local=64, encodes=True)
        assert wrong is None
        assert {**seen, **facts} == seen
        assert seen["subnormals"] == "kept"


def test_a_bf16_that_is_off_by_one_is_reported() -> None:
    """One code of 65536."""

    def play(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
        return np.where(inputs[_A] == 0x4049, 0x40490001, inputs[_A] << 16).astype(np.uint32)

    wrong, _ = outcome("numbers", play, type="bf16", local=64, encodes=False)
    assert wrong == "bf16 to f32, by code: 1 of 65536 elements differ, the first at i=16457: 3.14062524 instead of 3.140625"


def float8_device(name: str, *, saturates: bool = True) -> Player:
    """A device that converts float8 by looking for the nearest code."""
    values = code_values(name)
    finite = np.flatnonzero(np.isfinite(values))
    largest = values[finite].max()
    special = {"e4m3": 0x7F, "e5m2": 0x7C}[name]

    def nearest(x: float) -> int:
        distance = np.abs(values[finite] - x)
        best = finite[distance == distance.min()]
        return int(min(best, key=lambda code: (code & 1, code & 0x7F, code)))

    def device(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
        if push[0] == 0:
            return values[inputs[_A]].astype(np.float32)
        if push[0] == 3:
            return values[inputs[_A]].astype("<f2").view(np.uint16).astype(np.uint32)
        codes = []
        for x in inputs[_A].view(np.float32).astype(np.float64):
            if push[0] == 2 and saturates and not np.isnan(x):
                codes.append(nearest(float(np.clip(x, -largest, largest))))
            elif np.isnan(x):
                codes.append(0x7F)
            elif abs(x) > largest:
                codes.append(special | (0x80 if x < 0 else 0))
            else:
                codes.append(nearest(x))
        return np.array(codes, np.uint32)

    return device


@pytest.mark.parametrize(("name", "overflow"), [("e4m3", "NaN"), ("e5m2", "infinity")])
def test_float8_conversions(name: str, overflow: str) -> None:
    """Every code, every tie, overflow and saturation."""
    wrong, facts = outcome("numbers", float8_device(name), type=name, local=64, encodes=True)
    assert wrong is None
    assert facts["rounding"] == "to nearest even"
    assert facts["overflow"] == overflow
    wrong, _ = outcome("numbers", float8_device(name, saturates=False), type=name, local=64, encodes=True)
    assert wrong is not None
    assert wrong.startswith(f"f32 to {name} with saturation: ")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("e2m1", {1: 0.5, 7: 6.0, 15: -6.0}),
        ("e3m2", {1: 0.0625, 0b011111: 28.0, 0b100001: -0.0625, 0b001100: 1.0}),
        ("e2m3", {1: 0.125, 0b011111: 7.5, 0b001000: 1.0}),
        ("ue8m0", {0: 2.0**-127, 127: 1.0, 254: 2.0**127}),
        ("mxint8", {1: 1 / 64, 127: 127 / 64, 128: -2.0}),
    ],
)
def test_microscaling_codes_have_the_specification_s_values(name: str, values: dict[int, float]) -> None:
    """The tables of OCP's Microscaling Formats 1.0."""
    for code, value in values.items():
        assert code_values(name)[code] == value


def test_sub_byte_codes_are_also_taken_from_the_top_of_a_byte() -> None:
    """An extract that ignores its offset is reported."""

    def play(ignores: bool) -> Player:
        def device(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
            return np.asarray(code_values("e2m1")[inputs[_A] >> (0 if ignores else push[1]) & 15], np.float32)

        return device

    assert outcome("numbers", play(False), type="e2m1", local=64) == (None, {})
    wrong, _ = outcome("numbers", play(True), type="e2m1", local=64)
    assert wrong is not None
    assert wrong.startswith("e2m1 to f32, the codes 4 bits up, by code: ")


def dot_device(signs: str, *, wraps: bool = False) -> Player:
    """A device that multiplies and adds in Python's integers."""
    kinds = {"signed": ("i1", "i1", "<i4"), "unsigned": ("u1", "u1", "<u4"), "mixed": ("i1", "u1", "<i4")}[signs]

    def device(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
        a, b = (inputs[i].view(kind).reshape(-1, 4).astype(object) for i, kind in zip((_A, _B), kinds, strict=False))
        c = inputs[_C].view(kinds[2]).astype(object)
        sums = (a * b).sum(axis=1) + c
        limits = np.iinfo(kinds[2])
        if push[0] and not wraps:
            sums = np.array([min(max(s, limits.min), limits.max) for s in sums], object)
        return np.array([s & 0xFFFFFFFF for s in sums], np.uint32)

    return device


@pytest.mark.parametrize("signs", ["signed", "unsigned", "mixed"])
@pytest.mark.parametrize("mode", [0, 1])
def test_integer_dot_products(signs: str, mode: int) -> None:
    """Right results pass; a saturation that wraps is reported with its operands."""
    assert outcome("integer_dot", dot_device(signs), signs=signs, mode=mode, local=64) == (None, {})
    wrong, _ = outcome("integer_dot", dot_device(signs, wraps=True), signs=signs, mode=mode, local=64)
    assert (wrong is None) == (mode == 0)
    assert wrong is None or "results differ, the first of [" in wrong


def test_signedness_taken_for_another_is_reported() -> None:
    """Mixed on a device that takes both operands as signed."""
    assert outcome("integer_dot", dot_device("signed"), signs="mixed", mode=0, local=64)[0] is not None
    assert outcome("integer_dot", dot_device("mixed"), signs="signed", mode=0, local=64)[0] is not None


def test_mixed_float_dots_say_whether_products_are_exact() -> None:
    """f32 results of f16 products that f16 would round."""

    def play(rounds: bool) -> Player:
        def device(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
            x, y = (inputs[i].view("<f2").reshape(-1, 2).astype(np.float64) for i in (_A, _B))
            products = (x * y).astype(np.float16).astype(np.float64) if rounds else x * y
            return np.asarray(products.sum(axis=1) + inputs[_C], np.float32)

        return device

    asked: dict[str, Any] = {"vector": "f16", "result": "f32", "width": 2, "local": 64, "accumulates": True}
    assert outcome("float_dot", play(False), **asked) == (None, {"products": "exact"})
    assert outcome("float_dot", play(True), **asked) == (None, {"products": "rounded"})


def half_device(*, fused: bool, factor: float = 1.0) -> Player:
    """A device whose f16 arithmetic is numpy's."""

    def device(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
        x, y, z = (inputs[i].view(np.float16).astype(np.float64) for i in (_A, _B, _C))
        exact = {0: x * y, 1: x + y}.get(push[0] & 3, x * y + z if fused else (x * y).astype(np.float16).astype(np.float64) + z)
        return (exact * factor).astype(np.float16)

    return device


@pytest.mark.parametrize("fused", [True, False])
def test_f16_multiply_adds_may_round_once_or_twice(fused: bool) -> None:
    """Both are allowed, and the record has which."""
    wrong, facts = outcome("half", half_device(fused=fused), local=64)
    assert wrong is None
    assert facts == {"rounding": "to nearest even", "fma": "fused" if fused else "not fused", "subnormals": "kept"}


def test_f16_arithmetic_that_is_off_is_reported() -> None:
    """A thousandth too much."""
    wrong, _ = outcome("half", half_device(fused=True, factor=1.003), local=64)
    assert wrong is not None
    assert wrong.startswith("products of pairs: ")


def subgroup_device(name: str, size: int, *, claim: int | None = None, sees_all: bool = False) -> Player:
    """A device with subgroups of `size` that reports `claim`, if given; with `sees_all`, it counts inactive invocations too."""

    def device(inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int) -> Input:
        values, lanes = inputs[0], inputs[1]
        which = int(np.int32(np.uint32(push[1])))
        output = np.zeros((values.size, 8), np.uint32)
        local = values.size // groups
        for start in range(0, values.size, size):
            at = np.arange(start, start + size)
            output[at, 0] = claim or size
            output[at, 1] = start % local // size
            output[at, 2] = np.arange(size)
            taken = (values[at] & 1 == 1) if push[0] else np.ones(size, bool)
            output[at, 3] = taken
            counted = np.ones(size, bool) if sees_all else taken
            if not counted.any():
                continue
            got, _ = expected(
                name, values[at][counted].astype(np.int64), np.arange(size)[counted], lanes[at][counted].astype(np.int64), which
            )
            output[at[counted], 4 : 4 + got.shape[1]] = got
        return output

    return device


OPERATIONS = (
    "add", "max", "clustered_add", "clustered_max", "inclusive_add", "shuffle", "shuffle_xor", "broadcast", "broadcast_first",
    "ballot", "all", "any",
)  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("size", [8, 32, 128])
def test_subgroup_operations_at_each_size(name: str, size: int) -> None:
    """Right results pass, and the size is recorded."""
    asked: dict[str, Any] = {"operation": name, "local": 2 * size, "size": size, "required": True}
    assert outcome("subgroup", subgroup_device(name, size), **asked) == (None, {"subgroup_size": size})


@pytest.mark.parametrize(
    ("asked", "played"),
    [
        ("add", "clustered_add"),
        ("clustered_max", "max"),
        ("inclusive_add", "add"),
        ("shuffle_xor", "shuffle"),
        ("broadcast", "broadcast_first"),
        ("all", "any"),
        ("any", "all"),
    ],
)
def test_an_operation_taken_for_its_neighbour_is_reported(asked: str, played: str) -> None:
    """The message has the subgroup, the lane and both results."""
    wrong, _ = outcome("subgroup", subgroup_device(played, 32), operation=asked, local=64, size=32, required=True)
    assert wrong is not None
    assert wrong.startswith("all invocations active")
    assert " of 32 invocations of subgroup " in wrong
    assert " instead of " in wrong


def test_expected_words_of_a_small_subgroup() -> None:
    """Each operation by hand, lane 1 not taking part."""
    x, lane, target = np.array([5, -3, 2]), np.array([0, 2, 3]), np.array([2, 0, 1])
    integers = {
        "add": [4, 4, 4], "max": [5, 5, 5], "inclusive_add": [5, 2, 4], "broadcast_first": [5, 5, 5], "shuffle": [-3, 5, 0],
        "clustered_add": [4, 4, 4], "clustered_max": [5, 5, 5],
    }  # fmt: skip
    for name, wanted in integers.items():
        words, mask = expected(name, x, lane, target, 0)
        assert words[:, 1].view(np.int32).tolist() == wanted, name
        assert words[:, 0].view(np.float32).tolist() == wanted, name
        assert mask.tolist() == [True, True, name != "shuffle"]  # lane 1 holds nothing that could be shuffled
    assert expected("ballot", x, lane, target, 0)[0][0].tolist() == [0b1001, 0, 0, 0]
    assert expected("all", x, lane, target, -4)[0].tolist() == [[1], [1], [1]]
    assert expected("all", x, lane, target, -3)[0].tolist() == [[0], [0], [0]]
    assert expected("any", x, lane, target, 4)[0].tolist() == [[1], [1], [1]]
    assert expected("shuffle_xor", x, lane, target, 2)[0][:, 1].view(np.int32).tolist() == [-3, 5, 0]


def test_inactive_invocations_that_are_counted_are_reported() -> None:
    """The sum of all of a subgroup where only a part came in."""
    asked: dict[str, Any] = {"operation": "add", "local": 64, "size": 32, "required": True}
    wrong, _ = outcome("subgroup", subgroup_device("add", 32, sees_all=True), **asked)
    assert wrong is not None
    assert wrong.startswith("part of each subgroup active: ")
    assert "invocations of subgroup 0 differ, the first in lane" in wrong


def test_a_size_that_is_not_the_required_one_is_reported() -> None:
    """So is a size that is impossible."""
    asked: dict[str, Any] = {"operation": "add", "local": 64, "size": 32}
    assert outcome("subgroup", subgroup_device("add", 16), **asked, required=True)[0] == "the subgroup size is 16, 32 was required"
    assert outcome("subgroup", subgroup_device("add", 16), **asked, required=False) == (None, {"subgroup_size": 16})
    wrong, _ = outcome("subgroup", subgroup_device("add", 32, claim=16), **asked, required=False)
    assert wrong == "the subgroup size is 16 and the largest lane 31"


def test_differences_name_count_and_place() -> None:
    """NaN equals NaN only."""
    nan = float("nan")
    assert differing(np.array([1.0, nan]), np.array([1.0, nan]), "i") is None
    assert differing(np.array([1.0, nan]), np.array([1.0, 0.5]), "i") == "1 of 2 elements differ, the first at i=1: nan instead of 0.5"


def test_facts_of_several_kernels_are_reported_together() -> None:
    """Facts that agree are there once."""
    facts: dict[str, Any] = {}
    for seen in ({"rounding": "to nearest even"}, {"rounding": "to nearest even"}, {"rounding": "toward zero", "fma": "fused"}):
        merge(facts, seen)
    assert facts == {"rounding": "to nearest even or toward zero", "fma": "fused"}
