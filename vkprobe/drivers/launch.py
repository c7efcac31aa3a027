"""Workers: one process per driver, in a group of its own, bound to its parent's life, spoken to in JSON lines.

`VK_DRIVER_FILES`, preloads and launchers are read only at process start, and drivers crash, hang and print to stdout:
so every driver lives in a process that may be lost, and requests travel over two pipes of their own.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from vkprobe.drivers import clibrary
from vkprobe.drivers.output import Output
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import FATAL_CODES, DriverError, WorkerFailed, WorkerLost
from vkprobe.protocol import REPLIES, Fault, Request

_PR_SET_PDEATHSIG = 1
# By path: `-m` and `-c` search the current folder for modules, from Python 3.13 on before any line of ours has run.
_WORKER = str(Path(__file__).resolve().parent.parent / "worker" / "__main__.py")
LAYER_VARIABLES = ("VK_INSTANCE_LAYERS", "VK_LOADER_LAYERS_ENABLE", "VK_LOADER_LAYERS_ALLOW")
"""What turns layers on, the last one in spite of VK_LOADER_LAYERS_DISABLE. Source: Vulkan-Loader, docs/LoaderInterfaceArchitecture.md."""
_IMPLICIT = "~implicit~"
_LOOK_S = 1.0  # how often a worker that is waited for is looked after


def _die_with_parent(parent: int) -> Callable[[], None]:
    """A pre-exec hook: the kernel kills the child when its parent dies (a worker hung in dlopen outlives it otherwise)."""
    prctl = ctypes.CDLL(None).prctl

    def hook() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return hook


def _on_set_loader(spec: DriverSpec) -> bool:
    """Whether the worker runs on the driver set's own dynamic loader and C library."""
    return spec.root is not None and not clibrary.keeps_host_library(clibrary.host_version(), clibrary.set_version(spec.root))


def _python(spec: DriverSpec) -> list[str]:
    """Argv up to and including Python: on the driver set's own dynamic loader where it has one.

    `--argv0` keeps `sys.executable` and the virtual environment; a newer C library runs the older Python.
    """
    if spec.root is None or not _on_set_loader(spec):
        return [sys.executable]
    binary = Path(sys.executable).resolve()
    search = [str(Path(spec.root) / clibrary.LIBRARIES), str(binary.parent.parent / "lib")]
    # --library-path takes LD_LIBRARY_PATH's place; what the user set there may be what this Python needs.
    search += [*filter(None, re.split("[:;]", os.environ.get("LD_LIBRARY_PATH", ""))), *clibrary.HOST_FOLDERS]
    argv = [str(Path(spec.root) / clibrary.LOADER), "--argv0", sys.executable]
    if spec.preload:
        argv += ["--preload", ":".join(spec.preload)]
    return [*argv, "--library-path", ":".join(search), str(binary)]


def worker_environment(spec: DriverSpec, base: dict[str, str] | None = None) -> dict[str, str]:
    """The environment a worker of `spec` starts with."""
    env = dict(os.environ if base is None else base)
    # Layers that desktops install (overlays, device choosers) change what is measured and crash on their own account,
    # and a validation layer that a shell's profile turns on would be timed with the driver.
    if env.get("VKPROBE_KEEP_LAYERS") == "1":
        env.setdefault("VK_LOADER_LAYERS_DISABLE", _IMPLICIT)
    else:
        for name in LAYER_VARIABLES:
            env.pop(name, None)
        env["VK_LOADER_LAYERS_DISABLE"] = ",".join(filter(None, [_IMPLICIT, env.get("VK_LOADER_LAYERS_DISABLE")]))
    # They chose which drivers are listed; the worker is to see its own driver whatever they say.
    for name in ("VK_ADD_DRIVER_FILES", "VK_LOADER_DRIVERS_SELECT", "VK_LOADER_DRIVERS_DISABLE"):
        env.pop(name, None)
    if spec.icd:
        env["VK_DRIVER_FILES"] = env["VK_ICD_FILENAMES"] = spec.icd
    if not _on_set_loader(spec):
        if spec.root is not None:
            env["LD_LIBRARY_PATH"] = clibrary.fallback_path(spec.root, env)
        if spec.preload:
            env["LD_PRELOAD"] = ":".join([*spec.preload, *filter(None, [env.get("LD_PRELOAD")])])
    # An empty entry, as `PYTHONPATH=$PYTHONPATH:/x` leaves one, stands for the current folder.
    if "PYTHONPATH" in env:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, env["PYTHONPATH"].split(os.pathsep)))
    env.pop("PYTHONFAULTHANDLER", None)  # the parent reports crashes; a Python stack of the worker helps nobody
    env.update(spec.environment)
    return env


@functools.cache
def _warn_about_layers(names: str) -> None:
    """Say once which of the user's variables workers don't get."""
    print(f"vkprobe: {names} ignored: a layer would be measured with the driver (VKPROBE_KEEP_LAYERS=1 keeps it)", file=sys.stderr)


def _cause(tail: str) -> str:
    """The exception in what Python printed as it ended, else the last line.

    >>> _cause("Traceback ...\\n  File ...\\nImportError: no such library\\n\\nFor help see ...")
    'ImportError: no such library'
    """
    raised = re.findall(r"^[\w.]+(?:Error|Exception)(?:: .*)?$", tail, re.M)
    return (raised[-1:] or tail.strip().splitlines()[-1:] or ["it printed nothing"])[0].strip()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


class Worker:
    """A running worker process and the requests to it.

    Start one from the main thread: the parent-death signal is bound to the thread that forks.
    """

    def __init__(self, spec: DriverSpec, extra_environment: dict[str, str] | None = None) -> None:
        self.spec = spec
        self._next_id = 0
        self._buffer = bytearray()
        self.reply: Any = None
        self._expects: Any = Any
        self._during: str | None = None
        self._started = False
        self._spent: str | None = None  # the code of a failure after which this worker is never used again
        requests_r, requests_w = os.pipe()
        replies_r, replies_w = os.pipe()
        self._output = Output()
        parent = 0 if spec.launcher else os.getpid()  # 0: a launcher that forks may stand between the two
        argv = [*spec.launcher, *_python(spec), _WORKER, "vkprobe.worker", str(requests_r), str(replies_w), str(parent)]
        env = worker_environment(spec)
        env.update(extra_environment or {})
        if cleared := [name for name in LAYER_VARIABLES if os.environ.get(name) and name not in env]:
            _warn_about_layers(", ".join(cleared))
        try:
            self._process = subprocess.Popen(
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=self._output.fileno(),
                stderr=self._output.fileno(),
                pass_fds=(requests_r, replies_w),
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),
            )
        except OSError as error:
            for fd in (requests_w, replies_r):
                os.close(fd)
            self._output.close()
            raise DriverError(f"driver {spec.name}: its worker could not be started with {argv[0]}: {error.strerror or error}") from None
        finally:
            os.close(requests_r)
            os.close(replies_w)
        self._requests = requests_w
        self._replies = replies_r

    @property
    def pid(self) -> int:
        """The worker's process id (the launcher's where there is one)."""
        return self._process.pid

    def fileno(self) -> int:
        """The reply pipe, for select()."""
        return self._replies

    def send(self, request: Request) -> int:
        """Send a request without waiting; returns its id. A dead worker is reported by `receive`.

        Raises:
            WorkerLost: a request timed out in the worker, or it lost its device; after a loss it still answers Fault.
        """
        if self._spent is not None and not (self._spent == "device-lost" and isinstance(request, Fault)):
            raise WorkerLost(self._spent, f"no request is sent to a worker after a {self._spent}", stderr_tail=self.stderr_tail())
        self._next_id += 1
        line = msgspec.json.encode({"id": self._next_id, "request": request}) + b"\n"
        self._expects = REPLIES[type(request)]
        try:
            while line:
                line = line[os.write(self._requests, line) :]
        except BrokenPipeError:
            pass  # the worker is gone: receive() finds the reply pipe closed and says how it ended
        return self._next_id

    def receive(self, timeout: float, *, progress: Callable[[dict[str, Any]], None] | None = None) -> Any:
        """The reply to the last request.

        Raises:
            WorkerLost: the worker ended, or did not answer within `timeout` (s) and was killed.
            WorkerFailed: it answered that the request failed, or never got as far as taking requests (`no-start`).
        """
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self.time_out(timeout)
            if not select.select([self._replies], [], [], min(left, _LOOK_S))[0]:
                self._output.trim()
            elif self.advance(progress):
                return self.reply

    def advance(self, progress: Callable[[dict[str, Any]], None] | None = None) -> bool:
        """Take in what has arrived on the reply pipe (one read: blocks unless select() says it is ready); whether the reply is whole.

        Raises:
            WorkerLost, WorkerFailed: as `receive`.
        """
        self._output.trim()
        chunk = os.read(self._replies, 1 << 16)
        if not chunk:
            raise self._lost()
        self._buffer += chunk
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            reply = msgspec.json.decode(line)
            self._started = True
            if reply.get("id") != self._next_id:
                continue
            if "error" in reply:
                error = reply["error"]
                if error["code"] in FATAL_CODES:
                    self._spent = error["code"]
                raise WorkerFailed(error["code"], error["reason"], error.get("detail"))
            if "ok" in reply:
                self.reply = msgspec.convert(reply["ok"], self._expects, strict=False)
                return True
            self._during = reply["progress"].get("query", self._during)
            if progress is not None:
                progress(reply["progress"])
        return False

    def time_out(self, timeout: float) -> WorkerLost:
        """Kill the worker for not answering within `timeout` (s); the error to raise."""
        self.kill()
        return WorkerLost("timeout", f"no answer within {timeout:g} s", stderr_tail=self.stderr_tail(), during=self._during)

    def request(self, request: Request, *, timeout: float, progress: Callable[[dict[str, Any]], None] | None = None) -> Any:
        """Send a request and wait for its reply; raises as `receive` does."""
        self.send(request)
        return self.receive(timeout, progress=progress)

    def _lost(self) -> WorkerLost | WorkerFailed:
        def lost(reason: str, name: str | None = None) -> WorkerLost:
            tail = self.stderr_tail()
            self.kill()
            return WorkerLost("crash", reason, signal=name, stderr_tail=tail, during=self._during)

        try:
            code = self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return lost("it closed its pipe without ending")
        if code > 128 and self.spec.launcher:
            code = 128 - code  # a launcher that forks, as shells do, passes on its child's signal so
        if code < 0:
            return lost(f"killed by {_signal_name(-code)}", _signal_name(-code))
        tail = self.stderr_tail()
        last = (tail.strip().splitlines() or [""])[-1]
        if not self._started:
            self.kill()
            return WorkerFailed("no-start", f"vkprobe's worker did not start (status {code}): {_cause(tail)}", {"stderr_tail": tail})
        return lost(f"ended with status {code}" + (f": {last}" if last else ""))

    def stderr_tail(self) -> str:
        """The last of what the worker and its driver printed."""
        return self._output.tail()

    def look(self) -> None:
        """Keep what it prints from filling the disk; `receive` and `advance` do so by themselves."""
        self._output.trim()

    def alive(self) -> bool:
        """Whether the process still runs and takes requests."""
        return self._spent is None and not self._output.closed and self._process.poll() is None

    def kill(self) -> None:
        """End the worker and its whole process group at once; harmless when it has ended."""
        if self._output.closed:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # already gone, and its group with it
        self._process.wait()
        self._close()

    def close(self, timeout: float = 2.0) -> None:
        """Let the worker end by itself (its request pipe closes), then make sure that it has."""
        if self._output.closed:
            return
        os.close(self._requests)
        self._requests = -1
        try:
            self._process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            pass  # kill() below ends it
        self.kill()

    def _close(self) -> None:
        for fd in (self._requests, self._replies):
            if fd >= 0:
                os.close(fd)
        self._requests = self._replies = -1
        self._output.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ask_all(requests: Sequence[tuple[DriverSpec, Request]], *, timeout: float, parallel: int) -> list[Any]:
    """One request to a fresh worker of each driver, at most `parallel` at once.

    Returns, in the order of `requests`, each reply, or the WorkerLost, WorkerFailed or DriverError that stands for it.
    """
    results: list[Any] = [None] * len(requests)
    waiting = list(range(len(requests)))[::-1]
    running: dict[int, tuple[Worker, float]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                index = waiting.pop()
                spec, request = requests[index]
                try:
                    worker = Worker(spec)
                except DriverError as error:
                    results[index] = error
                    continue
                worker.send(request)
                running[index] = (worker, time.monotonic() + timeout)
            if not running:
                continue
            soonest = min(deadline for _, deadline in running.values())
            wait = min(max(0.0, soonest - time.monotonic()), _LOOK_S)
            ready = select.select([w for w, _ in running.values()], [], [], wait)[0]
            for index, (worker, deadline) in list(running.items()):
                worker.look()
                try:
                    if worker in ready:
                        if not worker.advance():
                            continue
                        results[index] = worker.reply
                    elif time.monotonic() < deadline:
                        continue
                    else:
                        results[index] = worker.time_out(timeout)
                except (WorkerLost, WorkerFailed) as error:
                    results[index] = error
                worker.close()
                del running[index]
    finally:
        for worker, _ in running.values():  # only when interrupted
            worker.kill()
    return results
