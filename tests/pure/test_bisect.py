"""Bisecting without a driver: its decisions, how a build can end, and the exit statuses for git."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.pure.recorded_devices import recorded
from tests.pure.sample_records import RUN, device, lavapipe, null_radv, pipeline, result, timing
from vkprobe.bisect.checkout import Skip, build
from vkprobe.bisect.decide import Finding, asked, by_status, by_times, line, verdict_of
from vkprobe.bisect.good import good_cells, matcher
from vkprobe.bisect.step import Step, other_clock, statistics_of
from vkprobe.cli.bisect import not_the_build
from vkprobe.cli.progress import Reporter
from vkprobe.compare.timing import Side, side
from vkprobe.drivers.embedded import cache_folder
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import UsageError
from vkprobe.ops.plan import plans
from vkprobe.records import AnyRecord, Host, RunRecord, Status, encode

ROUNDS, SAMPLES = 5, 9


def process(rng: random.Random, typical: float, *, noise: float = 0.01, rounds: int = ROUNDS) -> Side:
    """Rounds of samples around `typical` (s), log-normal, each round with an offset of its own."""
    offsets = [rng.lognormvariate(0, noise / 2) for _ in range(rounds)]
    return side([[typical * offset * rng.lognormvariate(0, noise) for _ in range(SAMPLES)] for offset in offsets])


def verdicts(rng: random.Random, factor: float, share: float, *, cells: int = 20, noise: float = 0.01, processes: int = 2) -> list[str]:
    """The verdicts of a table whose first cell takes `factor` times as long."""
    table = {
        str(i): (process(rng, 1e-3, noise=noise), [process(rng, 1e-3 * (factor if i == 0 else 1), noise=noise) for _ in range(processes)])
        for i in range(cells)
    }
    return [finding.verdict for finding in by_times(table, share)]


def test_noise_is_never_bad() -> None:
    """200 tables of 20 cells at 1 % noise, and as many at 30 %, none of which changed: no commit is called bad."""
    rng = random.Random(1)
    for noise in (0.01, 0.3):
        assert not any("bad" in verdicts(rng, 1.0, 0.03, noise=noise) for _ in range(200))


def test_a_commit_without_a_change_is_good() -> None:
    """At 1 % noise and a threshold of 3 %, nearly every cell is below it."""
    rng = random.Random(2)
    outcomes = [verdict for _ in range(50) for verdict in verdicts(rng, 1.0, 0.03)]
    assert outcomes.count("good") > 0.95 * len(outcomes)


def test_a_slowdown_beyond_the_threshold_is_bad() -> None:
    """With one cell 6 % slower at 1 % noise, at least 95 of 100 tables name that cell and no other."""
    rng = random.Random(3)
    tables = [verdicts(rng, 1.06, 0.03) for _ in range(100)]
    assert sum(table[0] == "bad" for table in tables) >= 95
    assert not any("bad" in table[1:] for table in tables)


def test_a_slowdown_at_the_threshold_is_unclear() -> None:
    """3 % slower against 3 %: neither is said but rarely."""
    rng = random.Random(4)
    outcomes = [verdicts(rng, 1.03, 0.03)[0] for _ in range(100)]
    assert outcomes.count("unclear") > 90


def test_a_slower_time_is_believed_in_a_second_process() -> None:
    """Three times as long in one process is unclear; the first that agrees makes it bad."""
    rng = random.Random(5)
    assert verdicts(rng, 3.0, 0.03, processes=1)[0] == "unclear"
    assert verdicts(rng, 3.0, 0.03, processes=2)[0] == "bad"


def test_two_speeds_are_no_slowdown() -> None:
    """A kernel that is 20 % slower in one of two processes, and as before in the other, is not called bad."""
    rng = random.Random(6)
    cells = {"two": (process(rng, 1.0), [process(rng, 1.2), process(rng, 1.0)])}
    assert by_times(cells, 0.03)[0].verdict == "unclear"


def test_one_round_each_decides_nothing() -> None:
    """Nothing says how much rounds differ."""
    rng = random.Random(7)
    (finding,) = by_times({"a": (process(rng, 1.0, rounds=1), [process(rng, 9.0, rounds=1)])}, 0.03)
    assert finding.verdict == "unclear"


def test_statuses_count_as_asked() -> None:
    """wrong, the losses and unsupported are bad where their condition is there, and else leave the commit open; what was given up too."""
    conditions = asked("slower:3%,wrong,crash")
    bad: tuple[Status, ...] = ("wrong", "crash", "timeout", "device-lost", "error")
    assert [by_status("c", status, None, conditions).verdict for status in bad] == ["bad"] * 5
    for status in ("skipped", "noop"):
        assert by_status("c", status, None, asked("slower:3%,wrong,crash,missing")).verdict == "unclear"
    assert by_status("c", "unsupported", "no tuple", conditions) == Finding(name="c", verdict="unclear", words="unsupported: no tuple")
    assert by_status("c", "unsupported", None, asked("missing")).verdict == "bad"
    assert by_status("c", "crash", None, asked("slower:3%,crash", crash=False)).verdict == "unclear"
    assert by_status("c", "wrong", None, asked("slower:3%", wrong=True)).verdict == "bad"


def test_bad_if_says_what_it_takes() -> None:
    """An unknown condition and one that is taken away again name the option."""
    with pytest.raises(UsageError, match="--bad-if slow: not known"):
        asked("slow")
    with pytest.raises(UsageError, match="no condition is left"):
        asked("crash", crash=False)


def test_the_line_names_the_worst_cell() -> None:
    """A bad cell before an unclear one, a lost one before a slow one, of equals the slowest."""
    good, slow = Finding(name="g", verdict="good", words="1x", size=1.0), Finding(name="s", verdict="bad", words="2x", size=2.0)
    slower, lost = Finding(name="t", verdict="bad", words="3x", size=3.0), Finding(name="l", verdict="bad", words="crash")
    open_ = Finding(name="u", verdict="unclear", words="9x", size=9.0)
    assert line("abc", [good, slow, slower, open_]) == "abc bad: t 3x (2 of 4 bad)"
    assert line("abc", [slow, lost, slower]) == "abc bad: l crash (3 of 3 bad)"
    assert line("abc", [good, open_]) == "abc skip: u 9x (1 of 2 unclear)"
    assert verdict_of([good]) == "good"


def test_a_pattern_is_a_glob_or_a_part() -> None:
    """With a wildcard the whole name has to match; without one a part of it does."""
    name = "gemm/q4_0/coopmat/f16/16x16x16/4096x512x14336/cold"
    assert [matcher(p)(name) for p in ("coopmat/f16", "gemm/*", "*/cold", "gemm/q4_?/*", "gemv", "coopmat/*")] == [True] * 4 + [False] * 2


OTHER = "00000000-0000-4000-8000-000000000002"


def written(path: Path, *records: AnyRecord) -> Path:
    """A file of records."""
    path.write_bytes(b"".join(encode(record) + b"\n" for record in records))
    return path


def test_good_pipelines_of_several_runs_all_count(tmp_path: Path) -> None:
    """One that got worse is bad whichever run the good record is of; one that nothing was made of is unclear, never left out."""
    name = "radv:gfx1201/0"
    pipes = [pipeline(name, f"gemm_{t}_scalar", "scalar-f32", t, registers=64, spills=0) for t in ("f16", "q4_0", "q8_0")]
    older, newer = null_radv(), null_radv(OTHER)
    (good,) = good_cells(
        written(tmp_path / "good.jsonl", older, *pipes[:2], newer, replace(pipes[2], run=OTHER)), "compile/*", statistics=True
    )
    current = [replace(pipes[0], spills=9), pipes[2]]
    conditions = asked("worse:5%,wrong,crash")
    by_kernel = {f.name.split("/")[1]: f.verdict for f in statistics_of(good, older, current, conditions)}
    assert by_kernel == {"gemm_f16_scalar": "bad", "gemm_q4_0_scalar": "unclear", "gemm_q8_0_scalar": "good"}


def test_other_core_clocks_are_reported(tmp_path: Path) -> None:
    """3 % of clock between the good records and now leave a cell open; 1 % does not."""
    at_clock = {mhz: replace(timing(1e-3), telemetry={"rounds": [{"sm_clock_mhz": mhz}] * 3}) for mhz in (1000, 1010, 1030)}
    records = written(tmp_path / "good.jsonl", device("nvidia/0"), replace(result(), time=at_clock[1000]))
    (good,) = good_cells(records, "gemm", statistics=False)
    (one,) = good.cells.values()
    assert other_clock(one, at_clock[1010]) is None
    assert other_clock(one, at_clock[1030]) == "core clocks differ: 1000 MHz against 1030 MHz"


def test_good_records_name_their_host(tmp_path: Path) -> None:
    """The CPUs of the runs whose cells were chosen: all of llvmpipe are one hardware, and each host has records of its own."""
    runs = [
        RunRecord(run=run, tool="0", argv=[], host=Host(cpu=cpu, os=None, kernel=None), environment={})
        for run, cpu in ((RUN, "old"), (OTHER, "new"))
    ]
    cells = [result("embedded:lvp/0", weights="f16"), result("embedded:lvp/0", weights="q4_0", run=OTHER)]
    records = written(tmp_path / "good.jsonl", *runs, lavapipe(), lavapipe(OTHER), *cells)
    assert [good.cpus for good in good_cells(records, "f16/coopmat", statistics=False)] == [{"old"}]
    assert [good.cpus for good in good_cells(records, "gemm", statistics=False)] == [{"old"}, {"new"}]


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({}, False),
        ({"spirv_sha": "other"}, True),
        ({"robust": None}, True),
        ({"float_controls": None}, True),
        ({"float_controls": ()}, False),
    ],
)
def test_good_records_of_another_vkprobe_are_refused(tmp_path: Path, changed: dict[str, Any], refused: bool) -> None:
    """Other kernels, or the same without their bounds checks or float controls: what they took says nothing of the driver now."""
    here = replace(recorded("nvidia-h200"), run=RUN)
    measured = replace(result(here.device), path="scalar-f16")
    (now,) = plans([measured.cell], here)
    build_of = {"spirv_sha": now.spirv_sha, "robust": now.robust, "float_controls": now.float_controls}
    measured = replace(measured, kernel=now.kernel.name, tile=now.tile, **build_of)
    records = written(tmp_path / "good.jsonl", here, replace(measured, **changed))
    (good,) = good_cells(records, "gemm", statistics=False)
    step = Step(DriverSpec(name="x", icd=None), here, good, asked("worse:5%"), run=RUN, sink=print, progress=Reporter())
    if refused:
        with pytest.raises(UsageError, match="is not this vkprobe's"):
            step.findings()
    else:
        assert [f.verdict for f in step.findings()] == ["unclear"]


def test_a_driver_that_is_not_the_build_is_reported() -> None:
    """The build id of the good records', and a driver of an embedded set; another build id says nothing."""
    mine = DriverSpec(name="mine", icd="/src/build/icd.json")
    good = device(build_id="aa")
    assert not_the_build(mine, good, device(build_id="bb")) is None
    assert not_the_build(mine, device(build_id=None), device(build_id=None)) is None
    assert "the good records' own build id" in str(not_the_build(mine, good, good))
    embedded = replace(mine, icd=str(cache_folder() / "drivers" / "icd.json"))
    assert "embedded set" in str(not_the_build(embedded, good, device(build_id="bb")))


def test_a_build_that_fails_is_skipped_with_its_last_lines(tmp_path: Path) -> None:
    """Its status in the message, its output in the detail and the log; standard error too."""
    log = tmp_path / "build.log"
    with pytest.raises(Skip, match=r"^the build ended with status 3$") as caught:
        build("seq 100; echo no rule >&2; exit 3", log, limit_s=20)
    assert caught.value.detail.endswith("  100\n  no rule")
    assert "  80\n" not in caught.value.detail
    assert log.read_text().splitlines()[0] == "1"
    build("true", log, limit_s=20)


def test_a_build_that_hangs_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    """Processes that it left in the background end too."""
    pid = tmp_path / "pid"
    with pytest.raises(Skip, match="took longer than 1 s"):
        build(f"sleep 100 & echo $! > {pid}; wait", tmp_path / "build.log", limit_s=1)
    end = time.monotonic() + 300
    process = Path("/proc") / pid.read_text().strip() / "stat"
    while process.exists() and process.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_signal_while_a_build_is_being_started_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is heard once the process is known; the handlers are the caller's again."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*command: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*command, **options))
        signal.raise_signal(signal.SIGTERM)
        return started[0]

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        monkeypatch.setattr(subprocess, "Popen", start)
        with pytest.raises(KeyboardInterrupt):
            build("sleep 100", tmp_path / "build.log", limit_s=20)
        assert signal.getsignal(signal.SIGTERM) is interrupt
    finally:
        signal.signal(signal.SIGTERM, before)
    assert started[0].returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--god", "x"], "--god"),
        (["--cell", "gemv"], "--good"),
        (["--good", "nothing.jsonl", "--cell", "gemv"], "nothing.jsonl: can't be read"),
        (["--good", "nothing.jsonl", "--cell", "gemv", "--bad-if", "slow"], "--bad-if slow: not known"),
        (["--good", "nothing.jsonl", "--cell", "gemv", "--build-limit", "x"], "expected a number of seconds"),
    ],
)
def test_wrong_usage_ends_the_bisection(arguments: list[str], says: str, tmp_path: Path) -> None:
    """128, where git takes other verbs' 2 for a bad commit."""
    command = [sys.executable, "-m", "vkprobe", "bisect-step", *arguments]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 128
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
