"""One vkprobe command on several hosts of a labgrid lab, each reserved for as long as it runs; one matrix from all their records.

LG_COORDINATOR=HOST:PORT python run.py lab.yaml RESULTS run --quick

For each target of lab.yaml, all at once: reserves a place with the target's tags (waiting while others hold it), runs
`vkprobe run --quick --driver ITS_DRIVER -o records.jsonl` there over ssh, fetches RESULTS/TARGET.jsonl and TARGET.progress.txt, and
frees the place. Then prints the matrix of all records. The exit status is the highest of vkprobe's on any host, or 4 where a host
could not be had; records of the others are kept.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from labgrid import Environment
from labgrid.config import Config

LOST = 4


class Ending:
    """The signals that end a job: they are heard where it waits for others, and wait themselves while it takes or gives something back."""

    def __init__(self) -> None:
        self.wanted: int | None = None
        self.heard = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.meet)

    def meet(self, number: int, _frame: object) -> None:
        """Note the signal; end where it is heard."""
        self.wanted = number
        self.end_if_heard()

    def end_if_heard(self) -> None:
        """End, once, with the status that a shell gives for the signal."""
        if self.heard and self.wanted is not None:
            self.heard = False
            sys.exit(128 + self.wanted)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Waiting that a signal ends, also one that came before."""
        self.heard = True
        try:
            self.end_if_heard()
            yield
        finally:
            self.heard = False


def failure(call: Callable[[], object]) -> Exception | None:
    """Call it; print and return the exception that it raises, None where it raises none."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is, the rest is to be given back
        print(f"giving back: {type(error).__name__}: {error}", file=sys.stderr)
        return error
    return None


@contextmanager
def giving_back() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Takes calls that give something back and makes them all in the end, the last first; raises the first failure."""
    calls: list[Callable[[], object]] = []
    try:
        yield calls.append
    finally:
        failures = [error for call in reversed(calls) if (error := failure(call))]
    if failures:
        raise failures[0]


def client(*arguments: str) -> str:
    """Run labgrid-client, out of reach of signals to this process's group, and return its output; raises CalledProcessError."""
    command = [sys.executable, "-m", "labgrid.remote.client", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, start_new_session=True).stdout


def on_host(config: str, target: str, results: Path, arguments: list[str], ending: Ending) -> int:
    """vkprobe's exit status on a place of `target`, whose records are then in `results`; the place is free again."""
    options = Config(config).get_targets()[target]["options"]
    with giving_back() as later:
        reservation = client("reserve", "--shell", *options["tags"].split())
        token = os.environ["LG_TOKEN"] = re.findall(r"LG_TOKEN=(\w+)", reservation)[0]  # what the name "+" in lab.yaml stands for
        later(lambda: client("cancel-reservation", token))
        with ending.waiting():
            client("wait", token)
        acquired = client("-p", "+", "acquire")
        later(lambda: client("-p", "+", "release"))
        print(f"{target}: {acquired.strip()}", flush=True)
        return over_ssh(config, target, f"vkprobe-{token}", results, [*arguments, "--driver", options["driver"]], ending)


def over_ssh(config: str, target: str, folder: str, results: Path, arguments: list[str], ending: Ending) -> int:
    """Run vkprobe in a new folder of the host's user, fetch what it wrote, and leave neither the folder nor vkprobe behind."""
    ssh = Environment(config).get_target(target).get_driver("SSHDriver")
    vkprobe = shlex.join(["vkprobe", *arguments, "-o", "records.jsonl"])
    # Nothing ends a command on a host when its ssh ends. One that has not begun by the time its folder is renamed does not begin; one
    # that has left its process id there before.
    begin = f"cd {folder} && echo $$ > pid && [ -d ../{folder} ] && exec {vkprobe} > table.txt 2> progress.txt"
    still_there = "pid=$(cat pid) && [ /proc/$pid/cwd -ef . ]"
    end = "kill $pid && { timeout 20 tail --pid=$pid -f /dev/null || kill -9 $pid; }"
    leave = f"cd {folder} && mv ../{folder} ../{folder}.left && {still_there} && {end}; rm -r ../{folder}.left"
    with giving_back() as later:
        ssh.run_check(f"mkdir {folder}")
        later(lambda: ssh.run_check(leave))
        with ending.waiting():
            _, errors, status = ssh.run(begin)
        for line in errors:
            print(f"{target}: {line}", file=sys.stderr)
        ssh.get(f"{folder}/progress.txt", str(results / f"{target}.progress.txt"))
        if ssh.run(f"test -s {folder}/records.jsonl")[2] == 0:  # vkprobe that ended before it measured has left none
            ssh.get(f"{folder}/records.jsonl", str(results / f"{target}.jsonl"))
        return int(status)


def everywhere(config: str, results: Path, arguments: list[str], ending: Ending) -> int:
    """`on_host` for each target, each in a process of its own, which frees its place before it ends."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    with giving_back() as later:
        later(lambda: [process.wait() for process in running.values()])
        later(lambda: [process.terminate() for process in running.values()])
        for target in Config(config).get_targets():
            for left in (f"{target}.jsonl", f"{target}.progress.txt"):
                (results / left).unlink(missing_ok=True)  # of an earlier job, which would pass for this one's
            command = [sys.executable, __file__, "--target", target, config, str(results), *arguments]
            running[target] = subprocess.Popen(command, start_new_session=True)  # Ctrl-C in a terminal is this process's to pass on
        with ending.waiting():
            statuses = {target: process.wait() for target, process in running.items()}
    for target, status in statuses.items():
        print(f"{target}: exit status {status}")
    return max(map(counted, statuses.values()))


def counted(status: int) -> int:
    """A process's exit status; LOST where a signal ended it, which subprocess reports as a negative number."""
    return status if status >= 0 else LOST


def matrix(results: Path, targets: Iterable[str]) -> int:
    """Print the matrix of what was fetched, and write its page; LOST where nothing was."""
    files = [str(path) for path in (results / f"{target}.jsonl" for target in sorted(targets)) if path.exists()]
    if not files:
        return LOST
    return counted(subprocess.run(["vkprobe", "matrix", *files, "--html", str(results / "matrix.html")], check=False).returncode)


def main() -> int:
    """The exit status of everything."""
    ending = Ending()
    if sys.argv[1] == "--target":
        target, config, folder, *arguments = sys.argv[2:]
        try:
            status = on_host(config, target, Path(folder), arguments, ending)
        except Exception as error:  # noqa: BLE001 - a host that can't be had costs its own records
            print(f"{target}: {type(error).__name__}: {error}", file=sys.stderr)
            status = LOST
    else:
        config, folder, *arguments = sys.argv[1:]
        results = Path(folder)
        results.mkdir(parents=True, exist_ok=True)
        status = everywhere(config, results, arguments, ending)
        with ending.waiting():
            status = max(status, matrix(results, Config(config).get_targets()))
    with ending.waiting():  # a signal that came at last, while nothing waited
        return status


if __name__ == "__main__":
    sys.exit(main())
