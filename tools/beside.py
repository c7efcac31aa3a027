"""vkprobe's mimic cells beside llama.cpp's own test-backend-ops.

    python -m tools.beside RECORDS... [--loaded RECORDS] --llama PATH=FILE... -o TABLE.md

FILE is the output of `test-backend-ops perf -o MUL_MAT` on the same machine, gzip or plain; PATH says which path llama.cpp's
environment left on for N > 8 (`coopmat2`, `coopmat`, `intdot`, `scalar-f16`, `scalar-f32`). For N <= 8 the scalar ones are the float
kernel, and the others what llama.cpp's own rule takes, q8_1 or float. Several FILEs of one PATH are several passes.

With GGML_VK_PERF_LOGGER=1 in its environment FILE holds GPU times, the only ones that are read of it: logging slows the host's. Either
clock says more than the kernel takes, so a cell is held against the one that says less, and what only that one says beyond the other's
most counts for nothing. The logger's timestamps stand between all dispatches, 1 to 2 us each on an H200, which matters at N = 1; a graph's
first copy has the conversion of B in it, where the path converts it. The host's time has submission in it, and at N = 512 more: a graph
has 100 GFLOP / 60 GFLOP + 1 = 2 copies of the op, over which one conversion of B, submission and fence are spread, and the mean over a
second begins with a new pipeline's slow plateau.
"""

from __future__ import annotations

import argparse
import gzip
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Literal, NamedTuple

from vkprobe import units
from vkprobe.builds import build_key
from vkprobe.cell import MATRIX_PATHS
from vkprobe.llama.device import limits
from vkprobe.llama.paths import Workload, choose
from vkprobe.llama.rows import MOST_COLUMNS
from vkprobe.ops.products import default_accumulator
from vkprobe.records import DeviceRecord, ResultRecord, RunRecord, Time, moment
from vkprobe.report.tables import render
from vkprobe.results.store import read_records
from vkprobe.weights import WEIGHT_TYPES

_LINE = re.compile(r"MUL_MAT\(type_a=(\w+),type_b=f32,m=(\d+),n=(\d+),k=(\d+),.*?\):\s+\d+ runs -\s+([\d.]+) us/run")
_LOGGED = re.compile(r"^MUL_MAT(?:_VEC)? (\w+) m=(\d+) n=(\d+) k=(\d+): (\d+) x ([\d.]+) us", re.M)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_PATHS = ("coopmat2", "coopmat", "intdot", "scalar-f16", "scalar-f32")
_NEAR = 0.10
_GZIP = b"\x1f\x8b"
Shape = tuple[str, int, int, int]  # type, m, n, k
Clock = Literal["gpu", "host"]


class Key(NamedTuple):
    """One line of the comparison: llama.cpp's path for this type and shape."""

    path: str
    type: str
    m: int
    n: int
    k: int


class Passes(NamedTuple):
    """llama.cpp's times (s) of one key, a value a pass, and the clock that took them."""

    seconds: list[float]
    clock: Clock


class Again(NamedTuple):
    """One cell of one kernel in two runs that follow each other."""

    key: Key
    earlier: ResultRecord
    later: ResultRecord
    ratio: float  # the later median over the earlier one
    apart_s: float
    steady: bool


def parsed(text: str) -> dict[Shape, float]:
    """{(type, m, n, k): s} of test-backend-ops' console output.

    >>> parsed("  MUL_MAT(type_a=q4_K,type_b=f32,m=4096,n=1,k=14336,bs=[1,1]): 45156 runs - 22.21 us/run - 117.44 MFLOP/run")
    {('q4_k', 4096, 1, 14336): 2.221e-05}
    """
    times = {}
    for line in _ANSI.sub("", text).splitlines():
        if match := _LINE.search(line):
            times[match[1].lower(), int(match[2]), int(match[3]), int(match[4])] = round(float(match[5]) * 1e-6, 12)
    return times


def logged(text: str) -> dict[Shape, float]:
    """{(type, m, n, k): s} of the performance logger's output: the median over all graphs, each of which gives its copies' mean.

    Graphs of a single copy (the one that warms up) count only where there are no others.

    >>> line = "MUL_MAT q6_K m=4096 n=512 k=14336: {} x {} us = 0 us (0 GFLOPS/s)"
    >>> logged(line.format(1, 900) + chr(10) + line.format(2, 439.792))
    {('q6_k', 4096, 512, 14336): 0.000439792}
    """
    times: dict[Shape, dict[bool, list[float]]] = {}
    for kind, m, n, k, copies, us in _LOGGED.findall(text):
        times.setdefault((kind.lower(), int(m), int(n), int(k)), {}).setdefault(int(copies) > 1, []).append(float(us) * 1e-6)
    return {shape: round(median(graphs.get(True) or graphs[False]), 12) for shape, graphs in times.items()}


def _taken(path: str, kind: str, m: int, n: int, k: int, device: DeviceRecord) -> str:
    """The path that llama.cpp takes for a product if its environment leaves `path` on."""
    if n <= MOST_COLUMNS:
        return "scalar-f32" if path.startswith("scalar") else choose(device, [Workload(kind, m, n, k)])[0].path or path
    if kind in ("f32", "f16", "bf16") and path not in MATRIX_PATHS:
        return "scalar-f32" if kind == "bf16" or path == "scalar-f32" else "scalar-f16"
    return path


def theirs(files: Iterable[tuple[str, str]], device: DeviceRecord) -> dict[Key, Passes]:
    """llama.cpp's times on `device`, of the two clocks the one that says less; `files` holds (path, output)."""
    passes: dict[Key, dict[Clock, list[float]]] = {}
    for path, text in files:
        by_gpu = logged(text)
        clock: Clock = "gpu" if by_gpu else "host"
        for (kind, m, n, k), seconds in (by_gpu or parsed(text)).items():
            key = Key(_taken(path, kind, m, n, k, device), kind, m, n, k)
            passes.setdefault(key, {}).setdefault(clock, []).append(seconds)
    return {key: _least(clocks) for key, clocks in passes.items()}


def _least(clocks: Mapping[Clock, list[float]]) -> Passes:
    """The times of the clock that has the least, up to the most that the other has."""
    clock = min(clocks, key=lambda clock: min(clocks[clock]))
    most = min(max(seconds) for seconds in clocks.values())
    return Passes([min(s, most) for s in clocks[clock]], clock)


def hot_products(results: Iterable[ResultRecord], device: DeviceRecord) -> list[ResultRecord]:
    """The hot mimic products with the accumulator that llama.cpp takes on `device`."""
    facts, products = limits(device), {"gemm", "gemv"}
    hot = [r for r in results if r.op in products and r.residency == "hot" and r.tier == "mimic"]
    return [r for r in hot if r.accumulator == default_accumulator(r.path or "", r.type or "", facts)]


def _cells(products: Iterable[ResultRecord]) -> dict[Key, list[ResultRecord]]:
    """Hot products by key, oldest first."""
    cells: dict[Key, list[ResultRecord]] = {}
    for r in sorted(products, key=lambda r: r.at):
        cells.setdefault(Key(r.path or "", r.type or "", r.axes["m"], r.axes["n"], r.axes["k"]), []).append(r)
    return cells


def ours(products: Iterable[ResultRecord]) -> dict[Key, ResultRecord]:
    """The newest of each key."""
    return {key: cells[-1] for key, cells in _cells(products).items()}


def run_to_run(products: Iterable[ResultRecord]) -> list[Again]:
    """Products that runs one after the other measured with the same kernel and tile."""
    pairs = ((key, *pair) for key, cells in _cells(products).items() for pair in pairwise(cells))
    return [again for pair in pairs if (again := _again(*pair)) is not None]


def _again(key: Key, earlier: ResultRecord, later: ResultRecord) -> Again | None:
    """The pair; None where it is of one run, of two kernels, or where one has no time."""
    if earlier.run == later.run or build_key(earlier) != build_key(later):
        return None
    if not isinstance(earlier.time, Time) or not isinstance(later.time, Time):
        return None
    apart = abs((moment(later.at) - moment(earlier.at)).total_seconds())
    return Again(key, earlier, later, later.time.median_s / earlier.time.median_s, apart, earlier.time.steady and later.time.steady)


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return units.seconds(low) if high / low < 1.005 else f"{units.seconds(low)} to {units.seconds(high)}"


def _sorted(keys: Iterable[Key]) -> list[Key]:
    paths, types = {name: i for i, name in enumerate(_PATHS)}, list(WEIGHT_TYPES)
    return sorted((k for k in keys if k.type in types), key=lambda k: (k.n, paths.get(k.path, 9), types.index(k.type)))


def _time(time: Time) -> str:
    return ("" if time.steady else "~") + units.seconds(time.median_s)


def unsupported(mine: dict[Key, ResultRecord], other: dict[Key, Passes]) -> list[str]:
    """A line for each path and reason of cells that the device can't run and llama.cpp has not run either."""
    types_by_reason: dict[tuple[str, str], list[str]] = {}
    for key in _sorted(mine):
        r = mine[key]
        if r.status == "unsupported" and key not in other:
            types_by_reason.setdefault((key.path, r.reason or ""), []).append(key.type)
    return [f"- {path}, {', '.join(dict.fromkeys(types))}: unsupported: {reason}" for (path, reason), types in types_by_reason.items()]


def rows(mine: dict[Key, ResultRecord], other: dict[Key, Passes]) -> list[list[str]]:
    """A row for each key that either has; `unsupported` lists the others."""
    table = []
    for key in _sorted({**mine, **other}):
        r, llama = mine.get(key), other.get(key)
        if llama is None and r is not None and r.status == "unsupported":
            continue
        label = [key.path, key.type, f"{key.m}x{key.n}x{key.k}"]
        beside = [_range(llama.seconds), llama.clock] if llama else ["", ""]
        if r is None or not isinstance(r.time, Time):
            status = "" if r is None else f"{r.status}: {r.reason}"
            table.append([*label, status, "", *beside, "", "", "", ""])
            continue
        t = r.time
        half = (t.ci95_s[1] - t.ci95_s[0]) / 2 / t.median_s
        ratio = _ratio(t.median_s, llama.seconds) if llama else ""
        share = f"{r.peak_share:.0%}" if isinstance(r.peak_share, float) else ""
        compiled = "" if r.compile_s is None else units.seconds(r.compile_s)
        table.append([*label, _time(t), f"{half:.1%}", *beside, ratio, share, units.seconds(t.settle_s), compiled])
    return table


def _ratio(mine: float, llama: Sequence[float]) -> str:
    """Ratio to the nearest of llama.cpp's passes: 1.00 inside their range."""
    low, high = min(llama), max(llama)
    ratio = mine / low if mine < low else mine / high if mine > high else 1.0
    return f"{ratio:.2f}" + ("" if abs(ratio - 1) <= _NEAR else " !")


_HEADERS = ("path", "type", "M x N x K", "vkprobe", "+-", "llama.cpp", "clock", "ratio", "of peak", "settled after", "compile")
_RATIO = _HEADERS.index("ratio")


def _minutes(apart: Sequence[Again]) -> str:
    low, high = (round(at(a.apart_s for a in apart) / 60) for at in (min, max))
    return f"{low} min apart" if low == high else f"{low} to {high} min apart"


class Section(NamedTuple):
    """The words of a section of pairs: its title, its lead, and its names for the two times."""

    title: str
    lead: str
    earlier: str
    later: str


_AGAIN = Section("Run to run", "The same kernel and tile in runs that follow each other.", "earlier", "later")
_LOADED = Section("Every core busy", "The same kernel and tile, idle and with every CPU core kept busy by another process.", "idle", "busy")


def while_loaded(idle: Iterable[ResultRecord], loaded: Iterable[ResultRecord]) -> list[Again]:
    """The newest cells of idle runs, and then the newest of the same kernel and tile on a machine whose cores were all busy.

    Raises:
        SystemExit: there are loaded cells, and none of them has an idle one.
    """
    newest, busy = ours(idle), ours(loaded)
    repeats = [pair for key, cell in busy.items() if key in newest and (pair := _again(key, newest[key], cell)) is not None]
    if busy and not repeats:
        sys.exit("--loaded: none of its cells was measured idle with the same kernel and tile")
    return repeats


def again_section(repeats: Sequence[Again], section: Section = _AGAIN) -> list[str]:
    """The Markdown lines of the cells measured twice, and how far steady ones lie apart; nothing where there are none."""
    if not repeats:
        return []
    order = {key: i for i, key in enumerate(_sorted({a.key for a in repeats}))}
    table = []
    for a in sorted(repeats, key=lambda a: (order[a.key], a.earlier.at)):
        assert isinstance(a.earlier.time, Time)
        assert isinstance(a.later.time, Time)
        shape = f"{a.key.m}x{a.key.n}x{a.key.k}"
        table.append(
            [a.key.path, a.key.type, shape, _time(a.earlier.time), _time(a.later.time), f"{a.ratio:.3f}", f"{a.apart_s / 60:.0f} min"]
        )
    by_runs: dict[tuple[str, str], list[Again]] = {}
    for a in sorted((a for a in repeats if a.steady), key=lambda a: a.earlier.at):
        by_runs.setdefault((a.earlier.run, a.later.run), []).append(a)
    summaries = [_summary(pairs) for pairs in by_runs.values()]
    if len(summaries) > 1:
        summaries.append(f"All: {_summary([a for pairs in by_runs.values() for a in pairs])}")
    bullets = [f"- {text}" for text in summaries or ["No cell is steady in two runs."]]
    return [
        f"## {section.title}",
        "",
        section.lead,
        "",
        render(("path", "type", "M x N x K", section.earlier, section.later, "ratio", "apart"), table, "md"),
        "",
        *bullets,
        "",
    ]


def _summary(pairs: Sequence[Again]) -> str:
    off = [abs(a.ratio - 1) for a in pairs]
    if len(off) == 1:
        return f"one steady cell, {_minutes(pairs)}, differs by {off[0]:.1%}."
    p95 = quantiles(off, n=20, method="inclusive")[-1]
    return f"{len(off)} steady cells, {_minutes(pairs)}, differ by {max(off):.1%} at most; 95th percentile {p95:.1%}."


def page(
    records: Sequence[str], llama: Sequence[tuple[str, str]], title: str, notes: Sequence[str] = (), loaded: Sequence[str] = ()
) -> str:
    """The Markdown page."""
    read = [record for path in records for record in read_records(path)]
    devices = [r for r in read if isinstance(r, DeviceRecord)]
    runs = [r for r in read if isinstance(r, RunRecord)]
    device = devices[-1]
    results = hot_products((r for r in read if isinstance(r, ResultRecord)), device)
    busy = hot_products((r for path in loaded for r in read_records(path) if isinstance(r, ResultRecord)), device)
    other = theirs(((path, output(Path(file))) for path, file in llama), device)
    mine = ours(results)
    table = rows(mine, other)
    both = [row for row in table if row[_RATIO]]
    near = sum(not row[_RATIO].endswith("!") for row in both)
    return "\n".join(
        [
            f"# {title}",
            "",
            f"{device.name}, {device.driver.name} {device.driver.info}, {runs[-1].host.os}; {runs[-1].tool}, {runs[-1].at[:10]}.",
            "Mimic tier, `--hot`, llama.cpp's default accumulator. vkprobe: median of GPU timestamps, half-width of the 95 % interval;",
            "`~` marks a time that is not steady. llama.cpp: test-backend-ops perf, the range over its passes by the clock that says less,",
            "up to the most that the other says: `gpu`: GPU timestamps of its performance logger, which take 1 to 2 us themselves, the",
            "median over graphs; `host`: host clock, the mean over a second, with submission and all else.",
            "ratio: vkprobe over the nearest end of that range, 1.00 inside it; `!` where it is off by more than 10 %.",
            *notes,
            "",
            f"{near} of {len(both)} cells that both have are within 10 %.",
            "",
            render(_HEADERS, table, "md"),
            "",
            *([*lines, ""] if (lines := unsupported(mine, other)) else []),
            *again_section(run_to_run(results)),
            *again_section(while_loaded(results, busy), _LOADED),
        ]
    )


def output(file: Path) -> str:
    """The text of a file, gzip or plain."""
    content = file.read_bytes()
    return (gzip.decompress(content) if content.startswith(_GZIP) else content).decode(errors="replace")


def main() -> None:
    """`python -m tools.beside RECORDS... [--loaded RECORDS] --llama PATH=FILE... [--title T] [--note N] -o TABLE.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="+", help="vkprobe's records; cells measured in several runs are compared below the table")
    parser.add_argument("--loaded", action="append", default=[], metavar="RECORDS", help="of the same cells with every CPU core busy")
    parser.add_argument("--llama", action="append", default=[], metavar="PATH=FILE", help="test-backend-ops' output")
    parser.add_argument("--title", default="vkprobe beside llama.cpp")
    parser.add_argument("--note", action="append", default=[], help="a line above the table")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    files = [tuple(word.split("=", 1)) for word in given.llama]
    if any(len(f) != 2 or f[0] not in _PATHS for f in files):
        sys.exit(f"--llama: expected PATH=FILE with a path of {', '.join(_PATHS)}")
    given.output.write_text(page(given.records, [(f[0], f[1]) for f in files], given.title, given.note, given.loaded))


if __name__ == "__main__":
    main()
