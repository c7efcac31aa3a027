"""vkprobe beside llama.cpp: test-backend-ops' output is parsed and paired with hot mimic cells; differences are marked."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.pure.recorded_devices import recorded
from tests.pure.sample_records import result, sample
from tools.beside import Key, again_section, logged, page, parsed, rows, run_to_run, theirs, while_loaded
from vkprobe.records import ResultRecord, Time, encode

LINE = "  MUL_MAT(type_a={},type_b=f32,m=4096,n={},k=14336,bs=[1,1],nr=[1,1],per=[0,1,2,3],o=1):   3820 runs -   {} us/run -  60 GFLOP/run"


def console(kind: str, n: int, us: float) -> str:
    """A line of test-backend-ops."""
    return LINE.format(kind, n, us) + " - \x1b[1;34m229.64 TFLOPS\x1b[0m\n"


def graphs(kind: str, n: int, *us: float, copies: int = 2) -> str:
    """The performance logger's lines of as many graphs."""
    lines = [f"Vulkan Timings:\nMUL_MAT {kind} m=4096 n={n} k=14336: {copies} x {t} us = {copies * t} us (1 GFLOPS/s)" for t in us]
    return "\n----------------\n".join(lines) + "\n"


def hot(median: float, run: str = "a", second: int = 10, *, steady: bool = True, weights: str = "q4_0") -> ResultRecord:
    """A hot coopmat GEMM's record."""
    record = result(weights=weights, residency="hot", run=run, second=second, steady=steady)
    assert isinstance(record.time, Time)
    return replace(record, time=replace(record.time, median_s=median))


def test_a_pass_is_read() -> None:
    """Colours and other lines are passed over; q4_K is vkprobe's q4_k."""
    assert parsed("Backend 1/2\n" + console("q4_K", 512, 451.37)) == {("q4_k", 4096, 512, 14336): 451.37e-6}


def test_vectors_take_the_path_that_llama_cpp_takes() -> None:
    """On an H200 at this K that is q8_1, except for q8_0 at N = 1; scalar passes have the float kernel."""
    device = recorded("nvidia-h200")
    text = console("q4_0", 1, 14.3) + console("q8_0", 1, 29.1) + console("q8_0", 8, 64.3) + console("q4_0", 512, 453.8)
    assert {(k.type, k.n): k.path for k in theirs([("coopmat2", text)], device)} == {
        ("q4_0", 1): "intdot", ("q8_0", 1): "scalar-f32", ("q8_0", 8): "intdot", ("q4_0", 512): "coopmat2"
    }  # fmt: skip
    assert {k.path for k in theirs([("scalar-f16", console("q4_0", 1, 21.6))], device)} == {"scalar-f32"}


def test_a_ratio_is_taken_to_the_nearest_pass(tmp_path: Path) -> None:
    """Inside llama.cpp's range it is 1; beyond ten percent it is marked, and counted."""
    device = recorded("nvidia-h200")
    records, llama = tmp_path / "r.jsonl", tmp_path / "llama.txt"
    mine = result(weights="q4_0", residency="hot")
    assert isinstance(mine.time, Time)
    records.write_bytes(b"".join(encode(r) + b"\n" for r in (sample()[0], device, mine)))
    for factor, word, near in ((1.0, "| 1.00 ", 1), (0.8, "| 1.25 ! ", 0), (1.05, "| 0.95 ", 1)):
        llama.write_text(console("q4_0", 512, mine.time.median_s * 1e6 * factor))
        text = page([str(records)], [("coopmat", str(llama))], "beside")
        assert word in text
        assert f"{near} of 1 cells" in text


def test_what_only_one_side_has_is_shown() -> None:
    """The row has no ratio."""
    other = theirs([("coopmat", console("f16", 512, 700.0))], recorded("nvidia-h200"))
    assert rows({}, other) == [["coopmat", "f16", "4096x512x14336", "", "", "700 us", "host", "", "", "", ""]]


def test_logged_graphs_give_their_median() -> None:
    """Graphs with several copies count; the single one that warms up only where it is alone. Batches are other products."""
    text = graphs("q6_K", 512, 900.0, copies=1) + graphs("q6_K", 512, 441.0, 439.0, 470.0) + graphs("f16", 512, 245.0, copies=1)
    assert logged(text + graphs("f16", 512, 9.0).replace("k=14336", "k=14336 batch=8")) == {
        ("q6_k", 4096, 512, 14336): 441e-6, ("f16", 4096, 512, 14336): 245e-6
    }  # fmt: skip
    assert logged("MUL_MAT_VEC q4_K m=4096 n=1 k=14336: 2000 x 18.5 us = 37000 us") == {("q4_k", 4096, 1, 14336): 18.5e-6}


def test_the_clock_that_says_less_counts() -> None:
    """The files' order doesn't matter; if a file has the logger's lines, the console's aren't read, because logging slows them."""
    key = Key("coopmat2", "q4_0", 4096, 512, 14336)
    with_logger = ("coopmat2", graphs("q4_0", 512, 353.0) + console("q4_0", 512, 506.0))
    host = ("coopmat2", console("q4_0", 512, 473.0) + console("f16", 512, 257.0))
    for files in ([with_logger, host], [host, with_logger]):
        times = theirs(files, recorded("nvidia-h200"))
        assert times[key] == ([353e-6], "gpu")
        assert times[key._replace(type="f16")] == ([257e-6], "host")
    assert theirs([with_logger, with_logger], recorded("nvidia-h200"))[key] == ([353e-6, 353e-6], "gpu")
    once = [("intdot", graphs("q4_0", 1, 15.9)), ("intdot", console("q4_0", 1, 14.3)), ("intdot", console("q4_0", 1, 16.2))]
    times = theirs(once, recorded("nvidia-h200"))
    host_times = times[Key("intdot", "q4_0", 4096, 1, 14336)]
    assert host_times == ([14.3e-6, 15.9e-6], "host")  # its 16.2 us is more than the GPU's clock ever says


def test_types_without_q8_1_take_the_float_path() -> None:
    """Where intdot is on, f16 is still multiplied in f16 and bf16 in f32; iq4_xs has q8_1 kernels in newer llama.cpp."""
    text = console("f16", 512, 2140.0) + console("bf16", 512, 3042.0) + console("q4_0", 512, 1540.0) + console("iq4_xs", 1, 27.5)
    assert {k.type: k.path for k in theirs([("intdot", text)], recorded("nvidia-h200"))} == {
        "f16": "scalar-f16", "bf16": "scalar-f32", "q4_0": "intdot", "iq4_xs": "intdot"
    }  # fmt: skip


def test_a_gzip_file_is_read(tmp_path: Path) -> None:
    """The page names the clock of its times."""
    records, llama = tmp_path / "r.jsonl", tmp_path / "llama.gz"
    records.write_bytes(b"".join(encode(r) + b"\n" for r in (sample()[0], recorded("nvidia-h200"), hot(700e-6))))
    llama.write_bytes(gzip.compress(graphs("q4_0", 512, 700.0).encode()))
    text = page([str(records)], [("coopmat", str(llama))], "beside", ["A note."])
    assert "| 700 us      | gpu     | 1.00    |" in text
    assert "A note." in text.splitlines()
    assert "Run to run" not in text


def test_runs_are_compared_with_each_other() -> None:
    """A pair for each two runs that follow, oldest first; the newest cell is the one beside llama.cpp."""
    cells = [hot(102e-6, "c", 310), hot(100e-6, "a", 10), hot(101e-6, "b", 190), hot(50e-6, "b", 190, steady=False, weights="f16")]
    pairs = run_to_run(cells)
    assert [(a.key.type, a.apart_s, round(a.ratio, 4)) for a in pairs] == [("q4_0", 180.0, 1.01), ("q4_0", 120.0, 1.0099)]
    text = again_section(pairs)
    assert text[-4:-1] == [
        "- one steady cell, 3 min apart, differs by 1.0%.",
        "- one steady cell, 2 min apart, differs by 1.0%.",
        "- All: 2 steady cells, 2 to 3 min apart, differ by 1.0% at most; 95th percentile 1.0%.",
    ]
    assert again_section([]) == []


@pytest.mark.parametrize(("steady", "words"), [(True, "- one steady cell, 3 min apart, differs by 2.0%."), (False, "- No cell")])
def test_only_steady_cells_are_summed_up(steady: bool, words: str) -> None:
    """Others are in the table, marked."""
    text = again_section(run_to_run([hot(100e-6, "a", 10), hot(98e-6, "b", 190, steady=steady)]))
    assert text[-2].startswith(words)
    assert ("~98.0 us" in "".join(text)) is not steady


def test_a_loaded_machine_is_compared_with_the_idle_one(tmp_path: Path) -> None:
    """Its newest cells, in a section of their own; loaded ones are in no other."""
    idle, loaded = tmp_path / "idle.jsonl", tmp_path / "loaded.jsonl"
    cells = [hot(100e-6, "a", 10), hot(101e-6, "b", 20)]
    idle.write_bytes(b"".join(encode(r) + b"\n" for r in (sample()[0], recorded("nvidia-h200"), *cells)))
    loaded.write_bytes(b"".join(encode(hot(us * 1e-6, run, at)) + b"\n" for us, run, at in ((140, "c", 5), (102, "d", 80))))
    text = page([str(idle)], [], "beside", loaded=[str(loaded)])
    first, second = text.split("## Every core busy")
    assert "102 us" not in first
    assert "| 101 us | 102 us | 1.010   | 1 min   |" in second
    assert "| idle   | busy   |" in second
    assert "- one steady cell, 1 min apart, differs by 1.0%." in second
    assert "140 us" not in text  # the newest of each counts, and never two loaded ones
    late = [hot(101e-6, "e", 200)]
    assert [(a.earlier.run, round(a.ratio, 3)) for a in while_loaded(late, [hot(102e-6, "d", 80)])] == [("e", 1.01)]  # idle stays idle
    with pytest.raises(SystemExit, match="none of its cells was measured idle"):
        while_loaded(late, [replace(hot(102e-6, "d", 80), spirv_sha="other")])


def test_what_a_device_cannot_run_is_reported_once(tmp_path: Path) -> None:
    """Below the table, by path and reason, unless llama.cpp ran it."""
    records = tmp_path / "r.jsonl"
    lacking = [replace(result(weights=w, residency="hot", status="unsupported"), reason="needs X") for w in ("q4_0", "f16")]
    records.write_bytes(b"".join(encode(r) + b"\n" for r in (sample()[0], recorded("nvidia-h200"), *lacking)))
    text = page([str(records)], [], "beside")
    assert "- coopmat, f16, q4_0: unsupported: needs X" in text.splitlines()
    assert "| coopmat" not in text
    llama = tmp_path / "llama.txt"
    llama.write_text(console("q4_0", 512, 700.0))
    text = page([str(records)], [("coopmat", str(llama))], "beside")
    assert "- coopmat, f16: unsupported: needs X" in text.splitlines()
    assert "unsupported: needs X" in next(line for line in text.splitlines() if line.startswith("| coopmat"))


def test_another_kernel_is_no_second_run() -> None:
    """A cell of the same run is none either, nor is one without a time."""
    assert run_to_run([hot(1e-4, "a"), replace(hot(1e-4, "b", 20), spirv_sha="other")]) == []
    assert run_to_run([hot(1e-4, "a"), hot(1e-4, "a", 20)]) == []
    assert run_to_run([hot(1e-4, "a"), result(residency="hot", weights="q4_0", status="crash", run="b", second=20)]) == []
