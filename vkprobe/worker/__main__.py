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

from vkprobe import protocol
from vkprobe.worker.failure import Failure

HANDLERS: dict[type[protocol.Request], str] = {
    protocol.Enumerate: "vkprobe.worker.facts:enumerate_devices",
    protocol.Facts: "vkprobe.worker.facts:facts",
    protocol.Diagnose: "vkprobe.worker.diagnose:diagnose",
    protocol.Open: "vkprobe.worker.session:open_device",
    protocol.Compile: "vkprobe.worker.session:compile_stage",
    protocol.Fault: "vkprobe.worker.session:fault",
    protocol.Prepare: "vkprobe.worker.programs:prepare",
    protocol.Sample: "vkprobe.worker.programs:sample",
    protocol.Release: "vkprobe.worker.programs:release",
    protocol.Climb: "vkprobe.worker.ladder:climb",
    protocol.ClimbFeature: "vkprobe.worker.ladder_features:climb_feature",
    protocol.BuildShader: "vkprobe.worker.custom:build_shader",
    protocol.WriteShader: "vkprobe.worker.custom:write_shader",
    protocol.DispatchShader: "vkprobe.worker.custom:dispatch_shader",
    protocol.ReadShader: "vkprobe.worker.custom:read_shader",
    protocol.ShaderStatistics: "vkprobe.worker.custom:shader_statistics",
    protocol.ReleaseShader: "vkprobe.worker.custom:release_shader",
}
"""Request -> `module:function`; a function takes the request and a progress callback, and returns the reply."""

_decoder = msgspec.json.Decoder(protocol.Envelope)


def serve(requests: int, replies: int) -> None:
    """Announce that the worker has started, then answer requests until the pipe closes."""
    os.write(replies, msgspec.json.encode({"id": 0, "started": True}) + b"\n")
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            envelope = _decoder.decode(line)

            def reply(_id: int = envelope.id, **body: Any) -> None:
                data = msgspec.json.encode({"id": _id, **body}) + b"\n"
                while data:
                    data = data[os.write(replies, data) :]

            try:
                module, _, name = HANDLERS[type(envelope.request)].partition(":")
                function = getattr(importlib.import_module(module), name)
                result = function(envelope.request, lambda p: reply(progress=p))
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
        os._exit(1)  # it died before the kernel knew
    try:
        serve(requests, replies)
    except BrokenPipeError:
        pass  # the parent has gone; there is nobody to report to
    # Drivers' exit handlers hang and crash; nothing of value is left to do.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
