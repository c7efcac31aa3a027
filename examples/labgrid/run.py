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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from labgrid import Environment
from labgrid.config import Config

LOST = 4


def client(*arguments: str) -> str:
    """What labgrid-client prints; raises CalledProcessError."""
    return subprocess.run([sys.executable, "-m", "labgrid.remote.client", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def afterwards(clean_up: Callable[[], object], *, always: bool = True) -> Iterator[None]:
    """Clean up, or only after an error; one of the cleaning up behind another is told, and the other one raised."""
    try:
        yield
    except BaseException:
        try:
            clean_up()
        except Exception as error:  # noqa: BLE001 - whatever it is, the first error is what counts
            print(f"cleaning up: {type(error).__name__}: {error}", file=sys.stderr)
        raise
    if always:
        clean_up()


def on_host(config: str, target: str, results: Path, arguments: list[str]) -> int:
    """vkprobe's exit status on a place of `target`, whose records are then in `results`; the place is free again."""
    options = Config(config).get_targets()[target]["options"]
    reservation = client("reserve", "--shell", *options["tags"].split())
    token = os.environ["LG_TOKEN"] = re.findall(r"LG_TOKEN=(\w+)", reservation)[0]  # what the name "+" in lab.yaml stands for
    with afterwards(lambda: client("cancel-reservation", token)):
        client("wait", token)
        with afterwards(lambda: client("-p", "+", "release")):  # also where SIGTERM comes while the place is being acquired
            print(f"{target}: {client('-p', '+', 'acquire').strip()}", flush=True)
            return over_ssh(config, target, f"vkprobe-{token}", results, [*arguments, "--driver", options["driver"]])


def over_ssh(config: str, target: str, folder: str, results: Path, arguments: list[str]) -> int:
    """Run vkprobe in a new folder of the host's user, fetch what it wrote, whatever became of it, and remove the folder."""
    ssh = Environment(config).get_target(target).get_driver("SSHDriver")
    command = shlex.join(["vkprobe", *arguments, "-o", "records.jsonl"])
    with (
        afterwards(lambda: ssh.run(f"rm -r {folder}")),
        # A host that is released must be idle: nothing ends a command when its ssh ends.
        afterwards(lambda: ssh.run(f"kill $(cat {folder}/pid) && timeout 20 tail --pid=$(cat {folder}/pid) -f /dev/null"), always=False),
    ):
        _, errors, status = ssh.run(f"mkdir {folder} && cd {folder} && echo $$ > pid && exec {command} > table.txt 2> progress.txt")
        for line in errors:
            print(f"{target}: {line}", file=sys.stderr)
        ssh.get(f"{folder}/progress.txt", str(results / f"{target}.progress.txt"))
        if ssh.run(f"test -s {folder}/records.jsonl")[2] == 0:  # vkprobe that ended before it measured has left none
            ssh.get(f"{folder}/records.jsonl", str(results / f"{target}.jsonl"))
        return int(status)


def everywhere(config: str, results: Path, arguments: list[str]) -> int:
    """`on_host` for each target, each in a process of its own; where this one is ended, they free their places first."""
    running = {}
    try:
        for target in Config(config).get_targets():
            for left in (f"{target}.jsonl", f"{target}.progress.txt"):
                (results / left).unlink(missing_ok=True)  # of an earlier job, which would pass for this one's
            running[target] = subprocess.Popen([sys.executable, __file__, "--target", target, config, str(results), *arguments])
        statuses = {target: process.wait() for target, process in running.items()}
    finally:
        for process in running.values():
            process.terminate()
            process.wait()
    for target, status in statuses.items():
        print(f"{target}: exit status {status}")
    return max(statuses.values())


def main() -> int:
    """The exit status of everything."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that places are freed
    if sys.argv[1] == "--target":
        target, config, folder, *arguments = sys.argv[2:]
        try:
            return on_host(config, target, Path(folder), arguments)
        except Exception as error:  # noqa: BLE001 - a host that can't be had costs its own records
            print(f"{target}: {type(error).__name__}: {error}", file=sys.stderr)
            return LOST
    config, folder, *arguments = sys.argv[1:]
    results = Path(folder)
    results.mkdir(parents=True, exist_ok=True)
    status = everywhere(config, results, arguments)
    fetched = (results / f"{target}.jsonl" for target in Config(config).get_targets())
    files = sorted(str(path) for path in fetched if path.exists())
    made = subprocess.run(["vkprobe", "matrix", *files, "--html", str(results / "matrix.html")], check=False) if files else None
    return max(status, made.returncode if made else LOST)


if __name__ == "__main__":
    sys.exit(main())
