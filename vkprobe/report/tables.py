"""Rows as a terminal table, Markdown, CSV or JSON: the one place that knows these formats."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

FORMATS = ("table", "md", "csv", "json")

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def terminal_width() -> int | None:
    """Columns of the terminal on stdout; None where stdout is no terminal (a file is as wide as it needs to be)."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def render(
    headers: Sequence[str],
    rows: Sequence[Sequence[Any]],
    format: str = "table",
    *,
    width: int | None = None,
    pinned: int = 1,
) -> str:
    """The rows in one of `FORMATS`, without a closing newline; None is shown as an empty cell (JSON: null).

    Args:
        headers: one per column; of JSON the keys.
        rows: as many cells each as there are headers.
        format: `table`, `md`, `csv` or `json`.
        width: columns of the terminal; a wider table is split into several, each with the `pinned` first columns.
        pinned: how many columns label a row.
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
        cells = [[_md(cell) for cell in row] for row in rows]
        return str(tabulate(cells, [_md(h) for h in headers], tablefmt="github", disable_numparse=True))
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    return "\n\n".join(_table(headers, texts, columns) for columns in _chunks(headers, texts, width, pinned))


def _md(cell: Any) -> str:
    return "" if cell is None else str(cell).replace("|", "\\|").replace("\n", "<br>")


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[int]) -> str:
    picked = [[row[i] for i in columns] for row in rows]
    text = str(tabulate(picked, [headers[i] for i in columns], tablefmt="simple", disable_numparse=True))
    return "\n".join(line.rstrip() for line in text.splitlines())


def _chunks(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, pinned: int) -> list[list[int]]:
    """The columns of each table: as many as fit into `width`, at least one besides the pinned ones."""
    if width is None:
        return [list(range(len(headers)))]
    widths = [max((_width(text) for text in (headers[i], *(row[i] for row in rows))), default=0) + 2 for i in range(len(headers))]
    label = list(range(min(pinned, len(headers))))
    chunks: list[list[int]] = [list(label)]
    used = sum(widths[i] for i in label)
    for i in range(len(label), len(headers)):
        if len(chunks[-1]) > len(label) and used + widths[i] - 2 > width:
            chunks.append(list(label))
            used = sum(widths[j] for j in label)
        chunks[-1].append(i)
        used += widths[i]
    return chunks


def _width(text: str) -> int:
    return max(len(_ANSI.sub("", line)) for line in text.split("\n"))
