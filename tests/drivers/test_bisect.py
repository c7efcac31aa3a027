"""`git bisect run vkprobe bisect-step` on real repositories whose commits change what a driver runs with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vkprobe.drivers.embedded import fetched
from vkprobe.drivers.spec import DriverSpec
from vkprobe.results.store import Store

DELAY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
int pthread_cond_broadcast(void *condition) {
  int (*real)(void *) = dlsym(RTLD_NEXT, "pthread_cond_broadcast");
  const char *delay = getenv("DELAY_US");
  if (delay) usleep(atoi(delay));
  return real(condition);
}
"""
"""Preloaded, each dispatch of lavapipe waits before it wakes its threads: tens of times what the cell takes, whatever else runs here."""
CRASH = "#include <signal.h>\nvoid *LLVMModuleCreateWithNameInContext(void) { raise(SIGSEGV); return 0; }\n"
"""Preloaded, lavapipe's compiler crashes on its first module."""
CELL = ("gemv", "--type", "f16", "--path", "scalar-f32", "--shape", "128,8,128")
LAVAPIPE = '[drivers.mine]\nicd = "embedded:lvp"\n'


class Repository:
    """A git repository of commits that each write vkprobe.toml, the oldest tagged `good`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "-q")
        self.git("config", "user.email", "someone@example.org")
        self.git("config", "user.name", "Someone")

    def git(self, *arguments: str) -> str:
        """The output of a git command."""
        return subprocess.run(["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=True).stdout.strip()

    def commit(self, subject: str, toml: str) -> None:
        """A commit with this vkprobe.toml; the first is the good one."""
        (self.folder / "vkprobe.toml").write_text(f"# {subject}\n{toml}")
        self.git("add", "vkprobe.toml")
        self.git("commit", "-qm", subject)
        if "good" not in self.git("tag"):
            self.git("tag", "good")

    def vkprobe(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """The command in the checkout."""
        command = [sys.executable, "-m", "vkprobe", *map(str, arguments)]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=600, check=False)

    def record(self, records: Path, *arguments: str) -> None:
        """Measure the good commit."""
        self.git("checkout", "-q", "good")
        ended = self.vkprobe(*arguments, "--driver", "mine", "-o", records)
        assert ended.returncode == 0, ended.stderr

    def bisect(self, *arguments: str | Path) -> str:
        """The subject of the commit that `git bisect run` names."""
        self.git("bisect", "start", "master", "good")
        command = [sys.executable, "-m", "vkprobe", "bisect-step", *map(str, arguments)]
        run = subprocess.run(["git", "bisect", "run", *command], cwd=self.folder, capture_output=True, text=True, timeout=600, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        first = self.git("log", "-1", "--format=%s", "refs/bisect/bad")
        assert f"{self.git('rev-parse', 'refs/bisect/bad')} is the first bad commit" in run.stdout
        return first

    @property
    def steps(self) -> dict[str, str]:
        """Subject of each commit that was tried -> what its step printed."""
        lines = (self.folder / ".git" / "vkprobe-bisect" / "steps.txt").read_text().splitlines()
        return {self.git("log", "-1", "--format=%s", line.split()[0]): line.partition(" ")[2] for line in lines}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """An empty repository whose main branch is master, whatever git is configured to use here."""
    if shutil.which("git") is None:
        pytest.skip("bisecting needs git: run `apt-get install git`")
    for name, value in {"COUNT": "1", "KEY_0": "init.defaultBranch", "VALUE_0": "master"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    return Repository(tmp_path / "driver")


def library(source: str, path: Path) -> str:
    """A library to preload, as vkprobe.toml names it."""
    if shutil.which("gcc") is None:
        pytest.skip("libraries to preload are built with a C compiler: run `apt-get install gcc`")
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", str(path), "-ldl"], input=source, text=True, check=True)
    return f'preload = ["{path}"]\n'


def test_a_planted_slowdown_is_pinned_to_its_commit(embedded: dict[str, DriverSpec], repository: Repository, tmp_path: Path) -> None:
    """Six commits, one of which delays every dispatch: it is found by the cell's name; a broken manifest is passed over."""
    driver = LAVAPIPE + library(DELAY, tmp_path / "libdelay.so")
    repository.commit("good", driver)
    repository.commit("harmless", f'{driver}env = {{MESA_DEBUG = "silent"}}\n')
    repository.commit("broken", '[drivers.mine]\nicd = "build/no_such_icd.json"\n')
    repository.commit("as before", driver)
    repository.commit("planted", f"{driver}env = {{DELAY_US = 2000}}\n")
    repository.commit("latest", f'{driver}env = {{DELAY_US = 2000, MESA_DEBUG = "silent"}}\n')
    records = tmp_path / "good.jsonl"
    repository.record(records, *CELL)
    culprit = repository.bisect("--good", records, "--cell", "gemv/f16/*", "--bad-if", "slower:700%", "--build", "test -f vkprobe.toml")
    assert culprit == "planted"
    assert repository.git("status", "--short") == ""
    steps = repository.steps
    assert steps["planted"].startswith("bad: gemv/f16/scalar-f32/f32/128x8x128/cold ")
    assert steps["planted"].endswith("over 8x (1 of 1 bad)")
    assert steps["broken"].startswith("skip: no device to measure on: mine: ")
    assert "no_such_icd.json" in steps["broken"]
    assert steps["as before"].startswith("good: ")
    logged = Store.load([repository.folder / ".git" / "vkprobe-bisect" / "steps.jsonl"])
    commits = {run.environment["GIT_COMMIT"] for run in logged.runs.values()}
    assert repository.git("rev-parse", "refs/bisect/bad") in commits
    assert len(commits) == len(steps)
    assert {r.status for r in logged.results.values()} == {"ok"}


def test_a_crash_counts_as_asked(embedded: dict[str, DriverSpec], repository: Repository, tmp_path: Path) -> None:
    """A compiler that segfaults is bad by default, and names the commit; with --crash skip nothing is said of it."""
    crashing = LAVAPIPE + library(CRASH, tmp_path / "libcrash.so")
    repository.commit("good", LAVAPIPE)
    repository.commit("harmless", LAVAPIPE)
    repository.commit("planted", crashing)
    repository.commit("latest", crashing)
    records = tmp_path / "good.jsonl"
    repository.record(records, *CELL)
    step = ("--good", records, "--cell", "128x8x128", "--bad-if", "wrong,crash")
    assert repository.bisect(*step) == "planted"
    assert "crash: compiling its pipeline: killed by SIGSEGV" in repository.steps["planted"]
    repository.git("checkout", "-q", "master")
    skipped = repository.vkprobe("bisect-step", *step, "--crash", "skip")
    assert skipped.returncode == 125
    assert " skip: gemv/f16/" in skipped.stdout


def test_worse_statistics_of_a_null_device_are_pinned(repository: Repository, tmp_path: Path) -> None:
    """Mesa 26.1 makes 6.7 % more instructions of one GEMM than 25.0 did: the commit that moves to it is named, statistics beside it."""
    if not (fetched() and fetched("trixie")):
        pytest.skip("two driver sets are needed: run `vkprobe drivers fetch` and `vkprobe drivers fetch --suite trixie`")
    old, new = ('[drivers.mine]\nnull = "radv:navi31@trixie"\n', '[drivers.mine]\nnull = "radv:navi31"\n')
    for subject, toml in (("good", old), ("harmless", old), ("planted", new), ("latest", new)):
        repository.commit(subject, toml)
    records = tmp_path / "good.jsonl"
    repository.record(records, "compile", "--type", "q4_0", "--path", "scalar-f32")
    assert repository.bisect("--good", records, "--cell", "compile/gemm_q4_0_scalar_f32/*") == "planted"
    assert "instructions 1924 -> 2052" in repository.steps["planted"]
    assert repository.steps["harmless"].startswith("good: compile/gemm_q4_0_scalar_f32/")
    repository.git("checkout", "-q", "master")
    lenient = repository.vkprobe("bisect-step", "--good", records, "--cell", "compile/gemm_q4_0_scalar_f32/*", "--bad-if", "worse:10%")
    assert lenient.returncode == 0, lenient.stderr


def test_a_driver_of_other_hardware_is_passed_over(embedded: dict[str, DriverSpec], repository: Repository, tmp_path: Path) -> None:
    """Records of lavapipe say nothing of a Radeon: 125 and a sentence that names both."""
    repository.commit("good", LAVAPIPE)
    records = tmp_path / "good.jsonl"
    repository.record(records, *CELL)
    ended = repository.vkprobe("bisect-step", "--good", records, "--cell", "gemv", "--null", "radv:navi31")
    assert ended.returncode == 125
    assert "not the hardware of the good records, llvmpipe" in ended.stderr


def test_whose_fault_a_driver_is(embedded: dict[str, DriverSpec], repository: Repository, tmp_path: Path) -> None:
    """A vkprobe.toml of the commits that can't be read is the commit's, 125; a name that nothing has the command line's, 128.

    So is a --device that chooses none, unless a build was asked for.
    """
    repository.commit("good", LAVAPIPE)
    records = tmp_path / "good.jsonl"
    repository.record(records, *CELL)
    repository.git("checkout", "-q", "master")
    repository.commit("torn", "[drivers.mine\n")
    torn = repository.vkprobe("bisect-step", "--good", records, "--cell", "gemv")
    assert torn.returncode == 125
    assert "vkprobe.toml is not TOML" in torn.stdout
    repository.git("rm", "-q", "vkprobe.toml")
    repository.git("commit", "-qm", "without")
    gone = repository.vkprobe("bisect-step", "--good", records, "--cell", "gemv", "--driver", "mine")
    assert gone.returncode == 125
    mine = tmp_path / "mine.toml"
    mine.write_text(LAVAPIPE)
    step = ("bisect-step", "--good", records, "--cell", "gemv", "--drivers", mine)
    nowhere = (*step, "--driver", "mine", "--device", "7")
    assert repository.vkprobe(*nowhere).returncode == 128
    assert repository.vkprobe(*nowhere, "--build", "true").returncode == 125
    unknown = repository.vkprobe(*step, "--driver", "mien")
    assert unknown.returncode == 128
    assert "unknown driver mien" in unknown.stderr


def test_an_interrupted_step_ends_the_bisection(embedded: dict[str, DriverSpec], repository: Repository, tmp_path: Path) -> None:
    """SIGTERM while it builds: 130, which git aborts on, and nothing of the build is left."""
    repository.commit("good", LAVAPIPE)
    records = tmp_path / "good.jsonl"
    repository.record(records, *CELL)
    build = "echo $$ > .git/pid; sleep 100"
    command = [sys.executable, "-m", "vkprobe", "bisect-step", "--good", str(records), "--cell", "gemv", "--build", build]
    process = subprocess.Popen(command, cwd=repository.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pid_file = repository.folder / ".git" / "pid"
    assert process.stderr is not None
    for line in process.stderr:
        if build in line:
            break
    while not pid_file.exists() or not pid_file.read_text().strip():
        assert process.poll() is None
    process.terminate()
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130, errors
    assert not Path(f"/proc/{pid_file.read_text().strip()}").exists()
    assert os.listdir(repository.folder / ".git" / "vkprobe-bisect") != []
