"""Tables for people and for programs: aligned text, Markdown, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
import shutil
import textwrap
from collections.abc import Sequence

FORMATS = ("table", "md", "csv", "json")
_GAP = 2
_MINIMUM = 24


def render(headers: Sequence[str], rows: Sequence[Sequence[str]], form: str, *, wrap: int | None = None, width: int | None = None) -> str:
    """The table in `form`, one of FORMATS; no newline at its end.

    `wrap` is the column that is folded so that lines of a text table stay within `width` (the terminal's where None).
    """
    if form == "json":
        return json.dumps([dict(zip(headers, row, strict=True)) for row in rows], indent=1, ensure_ascii=False)
    if form == "csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([headers, *rows])
        return out.getvalue().rstrip("\n")
    if form == "md":
        from tabulate import tabulate

        cells = [[cell.replace("|", "\\|").replace("\n", "<br>") for cell in row] for row in rows]
        return str(tabulate(cells, headers, tablefmt="github", disable_numparse=True))
    return _text(headers, rows, wrap, width or shutil.get_terminal_size((120, 24)).columns)


def _text(headers: Sequence[str], rows: Sequence[Sequence[str]], wrap: int | None, width: int) -> str:
    from tabulate import tabulate

    cells = [list(row) for row in rows]
    if wrap is not None:
        others = sum(
            max([len(headers[i]), *(len(line) for row in cells for line in row[i].splitlines())]) + _GAP
            for i in range(len(headers))
            if i != wrap
        )
        room = max(_MINIMUM, width - others)
        for row in cells:
            row[wrap] = "\n".join(_fold(line, room) for line in row[wrap].splitlines())
    text = str(tabulate(cells, headers, tablefmt="simple", disable_numparse=True))
    return "\n".join(line.rstrip() for line in text.splitlines())


def _fold(line: str, room: int) -> str:
    # Paths and commands stay whole: they are there to be copied.
    return textwrap.fill(line, room, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
