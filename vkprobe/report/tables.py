"""Rows as a terminal table, Markdown, CSV or JSON: the one place that knows these formats."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

FORMATS = ("table", "md", "csv", "json")

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_GAP = 2
_FOLDED_MINIMUM = 24
_PADDING = 2  # tabulate's, of headings


def terminal_width() -> int | None:
    """Columns of the terminal on stdout, or $COLUMNS; None where there is neither (a file is as wide as it needs to be)."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() or os.environ.get("COLUMNS") else None


class Footnotes:
    """Reasons, each numbered once however many cells share it."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, reason: str) -> int:
        """The footnote's number."""
        return self._numbers.setdefault(reason, len(self._numbers) + 1)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return iter((number, reason) for reason, number in self._numbers.items())


def render(
    headers: Sequence[str],
    rows: Sequence[Sequence[Any]],
    format: str = "table",
    *,
    width: int | None = None,
    pinned: int = 1,
    fold: int | None = None,
) -> str:
    """The rows in one of `FORMATS`, without a closing newline; None is shown as an empty cell (JSON: null).

    Args:
        headers: one per column; of JSON the keys.
        rows: as many cells each as there are headers.
        format: `table`, `md`, `csv` or `json`.
        width: columns of the terminal; a wider table is split into several, each with the `pinned` first columns.
        pinned: how many columns label a row.
        fold: the column whose lines are folded so that the table stays within `width`.
    """
    if format == "json":
        return json.dumps([dict(zip(headers, row, strict=True)) for row in rows], indent=1, ensure_ascii=False)
    if format == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(headers)
        writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
        return out.getvalue().rstrip("\n")
    if format == "md":
        from tabulate import tabulate  # here and below: not every verb that has --format prints a table

        cells = [[_md(cell) for cell in row] for row in rows]
        return str(tabulate(cells, [_md(h) for h in headers], tablefmt="github", disable_numparse=True))
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if fold is not None and width is not None:
        texts = _folded(headers, texts, fold, width)
    return "\n\n".join(_table(headers, texts, columns) for columns in _chunks(headers, texts, width, pinned))


def _md(cell: Any) -> str:
    return "" if cell is None else str(cell).replace("|", "\\|").replace("\n", "<br>")


def folded(line: str, room: int | None, indent: str = "  ") -> str:
    """The line in lines of at most `room` characters, all but the first indented; words, so paths and commands too, stay whole."""
    if room is None:
        return line
    return textwrap.fill(line, room, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _folded(headers: Sequence[str], rows: Sequence[Sequence[str]], column: int, width: int) -> list[list[str]]:
    others = sum(_widest(headers, rows, i) + _GAP for i in range(len(headers)) if i != column)
    room = max(_FOLDED_MINIMUM, width - others)
    return [[*row[:column], "\n".join(folded(line, room) for line in row[column].split("\n")), *row[column + 1 :]] for row in rows]


def _widest(headers: Sequence[str], rows: Sequence[Sequence[str]], column: int) -> int:
    return max(_width(headers[column]) + _PADDING, *(_width(row[column]) for row in rows), 0)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[int]) -> str:
    from tabulate import tabulate

    picked = [[row[i] for i in columns] for row in rows]
    text = str(tabulate(picked, [headers[i] for i in columns], tablefmt="simple", disable_numparse=True))
    return "\n".join(line.rstrip() for line in text.splitlines())


def _chunks(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, pinned: int) -> list[list[int]]:
    """The columns of each table: as many as fit into `width`, at least one besides the pinned ones."""
    if width is None:
        return [list(range(len(headers)))]
    widths = [_widest(headers, rows, i) + _GAP for i in range(len(headers))]
    label = list(range(min(pinned, len(headers))))
    chunks: list[list[int]] = [list(label)]
    used = sum(widths[i] for i in label)
    for i in range(len(label), len(headers)):
        if len(chunks[-1]) > len(label) and used + widths[i] - _GAP > width:
            chunks.append(list(label))
            used = sum(widths[j] for j in label)
        chunks[-1].append(i)
        used += widths[i]
    return chunks


def _width(text: str) -> int:
    return max(len(_ANSI.sub("", line)) for line in text.split("\n"))
