"""The intdot kernels' sources against what the host knows of them: words of a block, and who stages what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pure.llama.facts import device_limits
from tests.pure.llama.test_int_tiles import TYPES, VENDORS
from vkprobe.llama.int_tiles import gemm_tile
from vkprobe.weights import WEIGHT_TYPES

KERNELS = Path(__file__).resolve().parents[2] / "kernels"


def _included(path: Path) -> str:
    """The text of a file and of all that it includes."""
    text = path.read_text()
    return text + "".join(_included(path.parent / name) for name in re.findall(r'^#include "([\w./]+)"$', text, re.M))


def defined(weight_type: str) -> dict[str, str]:
    """Macros of a type's intdot.glsl, and of the files that it includes."""
    text = _included(KERNELS / "types" / weight_type / "intdot.glsl")
    definitions: list[tuple[str, str]] = re.findall(r"^#define (\w+) (\w+)\b", text, re.M)
    words = dict(definitions)
    return {name: words.get(value, value) for name, value in definitions}


@pytest.mark.parametrize("weight_type", TYPES)
def test_the_host_s_table_is_the_sources(weight_type: str) -> None:
    """The words of a block, and those of its scales, decide the shared memory that a device must have."""
    q8_1 = WEIGHT_TYPES[weight_type].q8_1
    assert q8_1 is not None
    macros = defined(weight_type)
    scale_words = 2 if macros["A_SCALE"] == "uvec2" else 1
    assert q8_1.staged_words == int(macros["A_WORDS"]) + scale_words


@pytest.mark.parametrize("subgroup", [4, 8, 16, 32, 64, 128])
@pytest.mark.parametrize("vendor", list(VENDORS))
@pytest.mark.parametrize("weight_type", TYPES)
@pytest.mark.parametrize("n", [32, 64, 512])
def test_every_word_of_a_tile_is_staged_once(weight_type: str, vendor: str, subgroup: int, n: int) -> None:
    """A block of A has as many invocations as its type needs, a block of B two."""
    t = gemm_tile(device_limits(**{**VENDORS[vendor], "subgroup": subgroup}), weight_type, 4096, n)
    for items, rows_there in ((int(defined(weight_type)["A_ITEMS"]), t.bm), (2, t.bn)):
        step = t.block // items
        staged = [(first + at // items, at % items) for first in range(0, rows_there, step) for at in range(t.block)]
        assert sorted(s for s in staged if s[0] < rows_there) == [(row, item) for row in range(rows_there) for item in range(items)]
