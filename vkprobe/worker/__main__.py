"""The worker's loop: a request a line on one pipe, replies on another, until the request pipe closes."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]  # this file's folder, or with -m the current one: a file there would hide Python's own modules
    sys.path.insert(0, __file__.rsplit("/", 3)[0])
    import vkprobe  # noqa: F401  # the parent's own, whichever else is installed

    sys.path.append(sys.path.pop(0))  # in front, what lies beside the package would hide others' modules

import ctypes
import importlib
import os
import signal
import traceback
from typing import Any

import msgspec

from vkprobe.worker.failure import Failure

VERBS: dict[str, str] = {
    "enumerate": "vkprobe.worker.facts:enumerate_devices",
    "facts": "vkprobe.worker.facts:facts",
    "diagnose": "vkprobe.worker.diagnose:diagnose",
    "open": "vkprobe.worker.session:open_device",
    "compile": "vkprobe.worker.session:compile_job",
    "prepare": "vkprobe.worker.cells:prepare",
    "sample": "vkprobe.worker.cells:sample",
    "climb": "vkprobe.worker.ladder:climb",
    "climb_feature": "vkprobe.worker.ladder_features:climb_feature",
    "build_shader": "vkprobe.worker.custom:build_shader",
    "write_shader": "vkprobe.worker.custom:write_shader",
    "dispatch_shader": "vkprobe.worker.custom:dispatch_shader",
    "read_shader": "vkprobe.worker.custom:read_shader",
    "shader_statistics": "vkprobe.worker.custom:shader_statistics",
    "release_shader": "vkprobe.worker.custom:release_shader",
    "fault": "vkprobe.worker.session:fault",
    "release": "vkprobe.worker.cells:release",
}
"""Request -> `module:function`; a function takes the request's arguments and a progress callback, and returns the reply."""


def serve(requests: int, replies: int) -> None:
    """Say that the worker has started, then answer requests until the pipe closes."""
    os.write(replies, msgspec.json.encode({"id": 0, "started": True}) + b"\n")
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            request = msgspec.json.decode(line)

            def reply(_id: int = request["id"], **body: Any) -> None:
                data = msgspec.json.encode({"id": _id, **body}) + b"\n"
                while data:
                    data = data[os.write(replies, data) :]

            try:
                module, _, name = VERBS[request["do"]].partition(":")
                function = getattr(importlib.import_module(module), name)
                result = function(progress=lambda p: reply(progress=p), **request["args"])
            except Failure as failure:
                reply(error={"code": failure.code, "reason": failure.reason, "detail": failure.detail})
            except Exception as error:  # the worker's edge: whatever else a request raises becomes its reply too
                traceback.print_exc()
                reply(error={"code": "internal", "reason": f"{type(error).__name__}: {error}"})
            else:
                reply(ok=result)


def main() -> None:
    """`python FILE vkprobe.worker REQUEST_FD REPLY_FD PARENT_PID`; the name is for `ps`; PARENT_PID is 0 behind a launcher."""
    requests, replies, parent = (int(a) for a in sys.argv[-3:])
    os.set_inheritable(requests, False)
    os.set_inheritable(replies, False)
    # Again, for a launcher that forks instead of replacing itself: then the parent is the launcher.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if parent not in (0, os.getppid()):
        os._exit(1)  # it died before the kernel was told
    try:
        serve(requests, replies)
    except BrokenPipeError:
        pass  # the parent has gone; there is nobody to tell
    # Drivers' exit handlers hang and crash; nothing of value is left to do.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
