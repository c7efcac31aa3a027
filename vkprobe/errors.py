"""The errors that reach a user: each a sentence that says what, where and what to do next, and an exit status."""

from __future__ import annotations

EXIT_OK = 0
EXIT_CONDITION = 1
EXIT_USAGE = 2
EXIT_WRONG = 3
EXIT_DRIVER = 4
EXIT_NO_DEVICE = 5
EXIT_INTERNAL = 70
EXIT_SKIP = 125
"""`git bisect run` passes over a commit whose command ends so."""
EXIT_ABORT = 128
"""`git bisect run` ends, and marks nothing, where its command ends with this or more; 1 to 127 but 125 it takes for bad, 2 too.

Source: git-bisect(1), "Bisect run".
"""


class VkprobeError(Exception):
    """Something the user can act on; `status` is the exit status it asks for."""

    status = EXIT_USAGE


class UsageError(VkprobeError):
    """An argument, a file or a model that can't be used."""

    status = EXIT_USAGE


class DriverError(VkprobeError):
    """A driver that was asked for failed, crashed, hung or lost its device."""

    status = EXIT_DRIVER


class NoDeviceError(VkprobeError):
    """No usable device at all, or no Vulkan loader to find one with."""

    status = EXIT_NO_DEVICE


class WorkerLost(DriverError):
    """A worker ended or stopped answering before it had replied.

    Attributes:
        what: `crash` (it ended by itself or by a signal) or `timeout` (it was killed for taking too long).
        signal: the signal's name (`SIGSEGV`), None where it ended with a status or was timed out.
        stderr_tail: the last lines it wrote to stderr.
        during: the query it had announced last (`vkCreateInstance`), None where it announced none.
    """

    def __init__(self, what: str, reason: str, *, signal: str | None = None, stderr_tail: str = "", during: str | None = None) -> None:
        super().__init__(reason)
        self.what = what
        self.reason = reason
        self.signal = signal
        self.stderr_tail = stderr_tail
        self.during = during


FATAL_CODES = frozenset({"timeout", "device-lost"})
"""Codes of WorkerFailed after which the worker is never used again: a submit may still be in flight and write into buffers."""


class WorkerFailed(DriverError):
    """The worker lives and answered that a request failed; where `code` is one of FATAL_CODES it takes no further request.

    Attributes:
        code: what failed, in one word (`no-loader`, `vk`, `device-lost`, `unsupported`, `internal`, ...).
        reason: a sentence.
    """

    def __init__(self, code: str, reason: str, detail: dict[str, object] | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.detail = detail or {}
