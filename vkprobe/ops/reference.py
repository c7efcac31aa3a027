"""Interface for verifying a program: inputs pass by pass, and a verdict on the output. Each op implements it in its reference.py."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, Protocol, TypeVar

from msgspec import Struct

from vkprobe.formats import U8
from vkprobe.ops.base import Op
from vkprobe.program import Program

SEED = 20261121
POISON = 0xFFFFFFFF
"""The word that outputs are filled with before a dispatch: as f32 a NaN that no arithmetic makes."""
T = TypeVar("T")


class Verdict(Struct, frozen=True, kw_only=True):
    """The result of a check; `wrong` says what is wrong in a sentence, or is None."""

    method: str
    nmse: float
    max_abs: float
    bound: float
    wrong: str | None


class Pass(NamedTuple):
    """One set of inputs and the judgement of its output.

    Attributes:
        inputs: u8[bytes] by buffer name; a longer source buffer repeats them.
        judge: takes the output's bytes; returns what is wrong, or None.
    """

    inputs: dict[str, U8]
    judge: Callable[[U8], str | None]


class Reference(Protocol):
    """A program's reference."""

    @property
    def exact(self) -> list[Pass]:
        """Passes before the timed one."""

    @property
    def timed(self) -> Pass:
        """The pass whose inputs are timed; its judgement leaves the verdict."""

    @property
    def verdict(self) -> Verdict:
        """The verdict of the timed pass's last judgement."""


class OnePass:
    """The reference of an op whose timed pass is its only one; a subclass gives its verdict."""

    def __init__(self, source: U8) -> None:
        self.source = source
        self.exact: list[Pass] = []
        self.verdict: Verdict

    @property
    def timed(self) -> Pass:
        """The only pass."""
        return Pass({"source": self.source}, self._judge)

    def _judge(self, output: U8) -> str | None:
        self.verdict = self.check(output)
        return self.verdict.wrong

    def check(self, output: U8) -> Verdict:
        """Judge the output's bytes."""
        raise NotImplementedError


class SharedReferences:
    """The references of a session's programs; the last of each kind is kept, as cells of one workload follow each other."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Any, Any]] = {}

    def of(self, program: Program, op: Op) -> Reference:
        """The reference that `op` has for a program."""
        return self.keep(f"{op.name} reference", program, lambda: op.reference(program, self))

    def keep(self, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """The kept value of `kind` if it has this key; else a new one."""
        if self._kept.get(kind, (None,))[0] != key:
            self._kept[kind] = None, None  # free the old one before its successor is made
            self._kept[kind] = key, make()
        kept: T = self._kept[kind][1]
        return kept
