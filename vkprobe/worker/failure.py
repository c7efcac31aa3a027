"""How a request fails: an exception that carries the message for the parent."""

from __future__ import annotations

from typing import Any


class Failure(Exception):
    """A request that failed; the worker lives on.

    Attributes:
        code: one word for programs (`no-loader`, `vk`, `device-lost`, `unsupported`, ...).
        reason: a sentence for people.
        detail: anything more the parent can use (`{"result": -9, "call": "vkCreateInstance"}`).
    """

    def __init__(self, code: str, reason: str, detail: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.detail = detail
