"""vkprobe's mimic cells beside llama.cpp's own test-backend-ops: `python -m tools.beside RECORDS... --llama PATH=FILE... -o TABLE.md`.

FILE is the console output of `test-backend-ops perf -o MUL_MAT` on the same machine; PATH says which path llama.cpp's
environment left on for N > 8 (`coopmat2`, `coopmat`, `intdot`, `scalar-f16`, `scalar-f32`). For N <= 8 the scalar ones are the float
kernel, and the others what llama.cpp's own rule takes, q8_1 or float. Several FILEs of one PATH are several passes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from vkprobe import units
from vkprobe.bench.cells import default_accumulator
from vkprobe.records import DeviceRecord, ResultRecord, RunRecord, Time
from vkprobe.report.tables import render
from vkprobe.requirements.choice import GEMV_COLUMNS, Workload, choices
from vkprobe.results.store import read_records
from vkprobe.weights import WEIGHT_TYPES

_LINE = re.compile(r"MUL_MAT\(type_a=(\w+),type_b=f32,m=(\d+),n=(\d+),k=(\d+),.*?\):\s+\d+ runs -\s+([\d.]+) us/run")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_PATHS = ("coopmat2", "coopmat", "intdot", "scalar-f16", "scalar-f32")
_NEAR = 0.10


class Key(NamedTuple):
    """What is compared: llama.cpp's path for this type and shape."""

    path: str
    type: str
    m: int
    n: int
    k: int


def parsed(text: str) -> dict[tuple[str, int, int, int], float]:
    """{(type, m, n, k): s} of test-backend-ops' console output.

    >>> parsed("  MUL_MAT(type_a=q4_K,type_b=f32,m=4096,n=1,k=14336,bs=[1,1]): 45156 runs - 22.21 us/run - 117.44 MFLOP/run")
    {('q4_k', 4096, 1, 14336): 2.221e-05}
    """
    found = {}
    for line in _ANSI.sub("", text).splitlines():
        if told := _LINE.search(line):
            found[told[1].lower(), int(told[2]), int(told[3]), int(told[4])] = round(float(told[5]) * 1e-6, 12)
    return found


def theirs(files: Iterable[tuple[str, str]], device: DeviceRecord) -> dict[Key, list[float]]:
    """llama.cpp's times (s) on `device`, a value a pass; `files` holds (path, console output)."""
    passes: dict[Key, list[float]] = {}
    for path, text in files:
        for (kind, m, n, k), seconds in parsed(text).items():
            taken: str | None = path
            if n <= GEMV_COLUMNS:
                taken = "scalar-f32" if path.startswith("scalar") else choices(device, [Workload(kind, m, n, k)])[0].path
            passes.setdefault(Key(taken or path, kind, m, n, k), []).append(seconds)
    return passes


def ours(results: Iterable[ResultRecord]) -> dict[Key, ResultRecord]:
    """The newest hot mimic cell of each key."""
    found: dict[Key, ResultRecord] = {}
    for r in results:
        if r.op in ("gemm", "gemv") and r.residency == "hot" and r.tier == "mimic" and r.accumulator == default_accumulator(r.path, r.type):
            found[Key(r.path, r.type, r.m, r.n, r.k)] = r
    return found


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return units.seconds(low) if high / low < 1.005 else f"{units.seconds(low)} to {units.seconds(high)}"


def rows(mine: dict[Key, ResultRecord], other: dict[Key, list[float]]) -> list[list[str]]:
    """A row for each key that either has."""
    order = {name: i for i, name in enumerate(_PATHS)}
    types = list(WEIGHT_TYPES)
    keys = [k for k in {**mine, **other} if k.type in types]
    made = []
    for key in sorted(keys, key=lambda k: (k.n, order.get(k.path, 9), types.index(k.type))):
        r, llama = mine.get(key), other.get(key)
        told = [key.path, key.type, f"{key.m}x{key.n}x{key.k}"]
        if r is None or not isinstance(r.time, Time):
            status = "" if r is None else f"{r.status}: {r.reason}"
            made.append([*told, status, "", _range(llama) if llama else "", "", "", "", ""])
            continue
        t = r.time
        half = (t.ci95_s[1] - t.ci95_s[0]) / 2 / t.median_s
        time = ("" if t.steady else "~") + units.seconds(t.median_s)
        ratio = _ratio(t.median_s, llama) if llama else ""
        share = f"{r.peak_share:.0%}" if isinstance(r.peak_share, float) else ""
        compiled = "" if r.compile_s is None else units.seconds(r.compile_s)
        made.append([*told, time, f"{half:.1%}", _range(llama) if llama else "", ratio, share, units.seconds(t.settle_s), compiled])
    return made


def _ratio(mine: float, llama: Sequence[float]) -> str:
    """Against the nearest of llama.cpp's passes: 1.00 inside their range."""
    low, high = min(llama), max(llama)
    ratio = mine / low if mine < low else mine / high if mine > high else 1.0
    return f"{ratio:.2f}" + ("" if abs(ratio - 1) <= _NEAR else " !")


_HEADERS = ("path", "type", "M x N x K", "vkprobe", "+-", "llama.cpp", "ratio", "of peak", "settled after", "compile")


def page(records: Sequence[str], llama: Sequence[tuple[str, str]], title: str) -> str:
    """The Markdown page."""
    read = [record for path in records for record in read_records(path)]
    devices = [r for r in read if isinstance(r, DeviceRecord)]
    runs = [r for r in read if isinstance(r, RunRecord)]
    mine = ours(r for r in read if isinstance(r, ResultRecord))
    device = devices[-1]
    other = theirs(((path, Path(file).read_text(errors="replace")) for path, file in llama), device)
    table = rows(mine, other)
    both = [row for row in table if row[6]]
    near = sum(not row[6].endswith("!") for row in both)
    return "\n".join(
        [
            f"# {title}",
            "",
            f"{device.name}, {device.driver.name} {device.driver.info}, {runs[-1].host.os}; {runs[-1].tool}, {runs[-1].at[:10]}.",
            "Mimic tier, `--hot`, llama.cpp's default accumulator. vkprobe: median of GPU timestamps, half-width of the 95 % interval;",
            "`~` marks a time that is not steady. llama.cpp: test-backend-ops perf, host clock, the range over its passes.",
            "ratio: vkprobe over the nearest end of that range, 1.00 inside it; `!` where it is off by more than 10 %.",
            "",
            f"{near} of {len(both)} cells that both have are within 10 %.",
            "",
            render(_HEADERS, table, "md"),
            "",
        ]
    )


def main() -> None:
    """`python -m tools.beside RECORDS... --llama PATH=FILE... [--title T] -o TABLE.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="+", help="vkprobe's records")
    parser.add_argument("--llama", action="append", default=[], metavar="PATH=FILE", help="test-backend-ops' console output")
    parser.add_argument("--title", default="vkprobe beside llama.cpp")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    files = [tuple(word.split("=", 1)) for word in given.llama]
    if any(len(f) != 2 or f[0] not in _PATHS for f in files):
        sys.exit(f"--llama: expected PATH=FILE with a path of {', '.join(_PATHS)}")
    given.output.write_text(page(given.records, [(f[0], f[1]) for f in files], given.title))


if __name__ == "__main__":
    main()
