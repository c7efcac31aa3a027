"""vkprobe beside llama.cpp: test-backend-ops' console output read, paired with hot mimic cells, and told apart where they differ."""

from __future__ import annotations

from pathlib import Path

from tests.pure.recorded_devices import recorded
from tests.pure.sample_records import result, sample
from tools.beside import page, parsed, rows, theirs
from vkprobe.records import Time, encode

LINE = "  MUL_MAT(type_a={},type_b=f32,m=4096,n={},k=14336,bs=[1,1],nr=[1,1],per=[0,1,2,3],o=1):   3820 runs -   {} us/run -  60 GFLOP/run"


def told(kind: str, n: int, us: float) -> str:
    """A line of test-backend-ops."""
    return LINE.format(kind, n, us) + " - \x1b[1;34m229.64 TFLOPS\x1b[0m\n"


def test_a_pass_is_read() -> None:
    """Colours and other lines are passed over; q4_K is vkprobe's q4_k."""
    assert parsed("Backend 1/2\n" + told("q4_K", 512, 451.37)) == {("q4_k", 4096, 512, 14336): 451.37e-6}


def test_vectors_take_the_path_that_llama_cpp_takes() -> None:
    """On an H200 at this K q8_1 but for q8_0 at N = 1; the scalar passes have the float kernel."""
    device = recorded("nvidia-h200")
    text = told("q4_0", 1, 14.3) + told("q8_0", 1, 29.1) + told("q8_0", 8, 64.3) + told("q4_0", 512, 453.8)
    assert {(k.type, k.n): k.path for k in theirs([("coopmat2", text)], device)} == {
        ("q4_0", 1): "intdot", ("q8_0", 1): "scalar-f32", ("q8_0", 8): "intdot", ("q4_0", 512): "coopmat2"
    }  # fmt: skip
    assert {k.path for k in theirs([("scalar-f16", told("q4_0", 1, 21.6))], device)} == {"scalar-f32"}


def test_a_ratio_is_taken_to_the_nearest_pass(tmp_path: Path) -> None:
    """Inside llama.cpp's range it is 1; beyond ten percent it is marked, and counted."""
    device = recorded("nvidia-h200")
    records, llama = tmp_path / "r.jsonl", tmp_path / "llama.txt"
    mine = result(weights="q4_0", residency="hot")
    assert isinstance(mine.time, Time)
    records.write_bytes(b"".join(encode(r) + b"\n" for r in (sample()[0], device, mine)))
    for factor, word, near in ((1.0, "| 1.00 ", 1), (0.8, "| 1.25 ! ", 0), (1.05, "| 0.95 ", 1)):
        llama.write_text(told("q4_0", 512, mine.time.median_s * 1e6 * factor))
        text = page([str(records)], [("coopmat", str(llama))], "beside")
        assert word in text
        assert f"{near} of 1 cells" in text


def test_what_only_one_side_has_is_shown() -> None:
    """With no ratio."""
    other = theirs([("coopmat", told("f16", 512, 700.0))], recorded("nvidia-h200"))
    assert rows({}, other) == [["coopmat", "f16", "4096x512x14336", "", "", "700 us", "", "", "", ""]]
