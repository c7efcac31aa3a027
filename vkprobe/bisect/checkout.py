"""The checkout that git bisects: its commit, where logs may lie without dirtying it, and building it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from vkprobe.errors import EXIT_SKIP, UsageError, VkprobeError

_FOLDER = "vkprobe-bisect"
_TAIL_LINES = 20
_TAIL_BYTES = 16 << 10


class Skip(VkprobeError):
    """This commit can't be judged; the message says why, `detail` gives more of it."""

    status = EXIT_SKIP

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


class Checkout(Struct, frozen=True, kw_only=True):
    """The git checkout of the current folder; `commit` is HEAD, `short` as git abbreviates it, `logs` a folder that git does not track."""

    commit: str
    short: str
    logs: Path

    def tracks(self, path: Path) -> bool:
        """Whether a file belongs to any commit, so that this one may lack it or have another one."""
        command = ["git", "log", "--all", "-1", "--format=%h", "--", os.fspath(path)]
        ended = subprocess.run(command, capture_output=True, check=False)
        return ended.returncode == 0 and ended.stdout != b""


def checkout(logs: Path | None = None) -> Checkout:
    """The checkout in the current folder; creates its `logs` folder, inside .git unless one is given.

    Raises:
        UsageError: this is no git checkout, or the folder can't be made.
    """
    result = Checkout(
        commit=_git("rev-parse", "HEAD"),
        short=_git("rev-parse", "--short", "HEAD"),
        logs=Path(os.path.abspath(logs if logs is not None else _git("rev-parse", "--git-path", _FOLDER))),
    )
    try:
        result.logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--log {result.logs}: can't be made: {error.strerror}") from None
    return result


def _git(*arguments: str) -> str:
    try:
        ended = subprocess.run(["git", *arguments], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise UsageError(f"git can't be run: {error.strerror}") from None
    if ended.returncode:
        raise UsageError(f"bisect-step runs in a checkout that git bisects: git {' '.join(arguments)}: {ended.stderr.strip()}")
    return ended.stdout.strip()


def build(command: str, log: Path, *, limit_s: float) -> None:
    """Run a shell command in the current folder, its output in `log`; all its processes end with it or after `limit_s`.

    Raises:
        Skip: it failed or took too long; its detail holds the log's last lines.
        UsageError: the log can't be written.
    """
    try:
        output = open(log, "wb")
    except OSError as error:
        raise UsageError(f"--log {log.parent}: {log.name} can't be written: {error.strerror}") from None
    process = None
    with output:
        try:
            with _signals_later():
                process = subprocess.Popen(
                    command, shell=True, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
                )
            status = process.wait(timeout=limit_s)
            failed = f"ended with status {status}" if status > 0 else f"was ended by {signal.Signals(-status).name}" if status else None
        except subprocess.TimeoutExpired:
            failed = f"took longer than {limit_s:g} s (--build-limit)"
        finally:
            if process is not None:
                _end(process)
    if failed is not None:
        raise Skip(f"the build {failed}", f"; the end of {log}:\n{_tail(log)}")


@contextmanager
def _signals_later() -> Iterator[None]:
    """Defer signals to the end of the block, so that a process that has been started is registered before an interrupt."""
    heard: list[int] = []
    handlers = {s: signal.signal(s, lambda number, frame: heard.append(number)) for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for one in heard:
        signal.raise_signal(one)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End whatever is left of a build: nothing of it may run while times are taken."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # all of it has ended by itself
    process.wait()


def _tail(log: Path) -> str:
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:]) or "  (it wrote nothing)"
