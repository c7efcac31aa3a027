"""The matrix of every recorded file prints the numbers that it printed before records had axes.

tests/recorded/matrix-cells.csv holds each cell as the last vkprobe of schema 1 printed it (`vkprobe matrix FILE --format json`), one a
line; cells that a file doesn't hold are left out.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from vkprobe.report.matrix import build
from vkprobe.report.text import as_text
from vkprobe.results.store import Store

ROOT = Path(__file__).parents[2]
EXPECTED = ROOT / "tests" / "recorded" / "matrix-cells.csv"
FILES = {path.stem: path for folder in ("reports", "tests/recorded") for path in sorted((ROOT / folder).glob("*.jsonl"))}
CellKey = tuple[str, str, str]
"""Section, row, device."""
CellValue = tuple[str, str, str]
"""Status, text, value."""


def expected() -> dict[str, dict[CellKey, CellValue]]:
    """The recorded cells by file."""
    cells: dict[str, dict[CellKey, CellValue]] = {}
    with open(EXPECTED, newline="") as file:
        for row in csv.DictReader(file):
            key = row["section"], _row(row["section"], row["row"]), row["device"]
            cells.setdefault(row["file"], {})[key] = row["status"], row["text"], row["value"]
    return cells


def _row(section: str, label: str) -> str:
    """A row's label; conversions accumulate nothing, and no longer name an accumulator."""
    return label.removesuffix(" f32acc") if section == "convert" else label


def printed(path: Path) -> dict[CellKey, CellValue]:
    """The cells of a file's matrix as it is printed now."""
    cells: dict[CellKey, CellValue] = {}
    for section in json.loads(as_text(build(Store.load([path])), "json"))["sections"]:
        for row in section["rows"]:
            label = " ".join(value for name, value in row.items() if name != "cells" and value)
            for device, cell in row["cells"].items():
                if cell["status"] != "absent":
                    value = cell.get("value")
                    key = section["title"], label, device
                    assert key not in cells, key
                    cells[key] = cell["status"], cell["text"], "" if value is None else repr(value)
    return cells


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_record_file_is_read(name: str) -> None:
    """Files of `make run` that lie beside the reports are read too."""
    assert printed(FILES[name]) or Store.load([FILES[name]]).devices


@pytest.mark.parametrize("name", sorted(expected()))
def test_every_cell_has_its_number(name: str) -> None:
    """The same cells, and of each the same status, text and value."""
    before, now = expected()[name], printed(FILES[name])
    assert now.keys() == before.keys()
    assert {key: (now[key], before[key]) for key in before if now[key] != before[key]} == {}


def test_the_recorded_cells_are_of_all_kinds() -> None:
    """The comparison has something to compare: measured, compiled, unsupported, wrong rungs, spills."""
    cells = [(key[0], value) for of_file in expected().values() for key, value in of_file.items()]
    assert Counter(value[0] for _, value in cells)["ok"] > 600
    assert sum(bool(value[2]) for _, value in cells) > 300
    assert {"gemm", "gemv", "copy", "peak", "Compile statistics", "Spills", "Ladder of features"} <= {section for section, _ in cells}
