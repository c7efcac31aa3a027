"""Measure the records for a GPU's reports: `python -m tools.survey FOLDER PART... [--driver NAME]`.

FOLDER/records.jsonl takes every record, but those of `loaded`, which are FOLDER/loaded.jsonl; FOLDER/PART.log every command of a part, its
output and how long it took. In the order in which they are worth asking for:

ceilings  copy, peak: what other commands find in the file they don't measure again
kernels   GEMM and GEMV of every type on every path, hot, llama.cpp's accumulators, at M = 4096 K = 14336, N = 1, 8 and 512
decoding  dequant, convert
model     gemm and gemv with the shapes of a model
again     four types of `kernels` once more, begun five minutes after `kernels` ended at the earliest
loaded    two types of `kernels` while every CPU core is kept busy by another process

Then `python -m tools.beside FOLDER/records.jsonl --loaded FOLDER/loaded.jsonl ...` makes the table beside llama.cpp.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_APART_S = 300.0
_AGAIN = ("--type", "f16,q4_0,q4_k,q6_k")
_LOADED = ("--type", "f16,q4_k")
_BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"  # ends with its parent, however that ends


def commands(part: str, m: int, k: int, model: str) -> list[list[str]]:
    """The vkprobe commands of a part."""
    gemm = ["gemm", "--hot", "--accumulator", "default", "--shape", f"{m},512,{k}"]
    gemv = ["gemv", "--hot", "--shape", f"{m},1,{k}", "--shape", f"{m},8,{k}"]
    return {
        "ceilings": [["copy"], ["peak"]],
        "kernels": [gemm, gemv],
        "decoding": [["dequant", "--shape", f"{m},1,{k}"], ["convert", "--shape", f"1,512,{k}"]],
        "model": [["gemm", "--model", model], ["gemv", "--model", model]],
        "again": [[*gemm, *_AGAIN], [*gemv, *_AGAIN]],
        "loaded": [[*gemm, *_LOADED], [*gemv, *_LOADED]],
    }[part]


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """Keep every core busy with a process of its own, if asked to."""
    cores = len(os.sched_getaffinity(0)) if wanted else 0
    loads = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(cores)]
    try:
        yield
    finally:
        for load in loads:
            load.kill()
            load.wait()


def survey(folder: Path, part: str, driver: str | None, asked: Sequence[Sequence[str]]) -> int:
    """Run a part; the highest exit status of its commands."""
    chosen = [] if driver is None else ["--driver", driver]
    records = folder / ("loaded.jsonl" if part == "loaded" else "records.jsonl")
    highest = 0
    with open(folder / f"{part}.log", "a", encoding="utf-8") as log, busy(part == "loaded"):
        for words in asked:
            command = ["vkprobe", *words, *chosen, "-o", str(records)]
            print(f"$ {shlex.join(command)}", file=log, flush=True)
            began = time.monotonic()
            status = subprocess.run([sys.executable, "-m", *command], stdout=log, stderr=log, check=False).returncode
            summary = f"{part}: {words[0]}: exit status {status} after {time.monotonic() - began:.0f} s"
            print(summary, file=log, flush=True)
            print(summary, flush=True)
            highest = max(highest, status if status >= 0 else 128 - status)  # as a shell reports an exit by a signal
    return highest


def main() -> None:
    """`python -m tools.survey`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("part", nargs="+", choices=("ceilings", "kernels", "decoding", "model", "again", "loaded"))
    parser.add_argument("--driver", help="as vkprobe takes it; default: as vkprobe has it")
    parser.add_argument("--m", type=int, default=4096)
    parser.add_argument("--k", type=int, default=14336)
    parser.add_argument("--model", default="qwen3-8b")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    statuses = []
    for part in options.part:
        first = options.folder / "kernels.log"
        if part == "again" and first.exists():
            time.sleep(max(0.0, first.stat().st_mtime + _APART_S - time.time()))
        statuses.append(survey(options.folder, part, options.driver, commands(part, options.m, options.k, options.model)))
    sys.exit(max(statuses))


if __name__ == "__main__":
    main()
