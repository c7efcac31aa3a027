"""Specialisation constants, push constants and bindings as a SPIR-V module declares them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

NAME, MEMBER_NAME, TYPE_STRUCT, TYPE_POINTER, VARIABLE, DECORATE = 5, 6, 30, 32, 59, 71
SPEC_ID, BINDING = 1, 33
PUSH_CONSTANT = 9


class Interface(NamedTuple):
    """Ids of constants with their names, names of push-constant words, and binding numbers; a name is empty where spirv-opt removed it."""

    constants: dict[int, str]
    push: tuple[str, ...]
    bindings: set[int]


def instructions(spirv: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(opcode, operands) of a module; fails where it does not end with its last instruction."""
    words = struct.unpack(f"<{len(spirv) // 4}I", spirv)
    assert words[0] == 0x07230203
    at = 5
    while at < len(words):
        count = words[at] >> 16
        assert count
        yield words[at] & 0xFFFF, words[at + 1 : at + count]
        at += count
    assert at == len(words)


def _text(words: tuple[int, ...]) -> str:
    return struct.pack(f"<{len(words)}I", *words).partition(b"\0")[0].decode()


def interface(spirv: bytes) -> Interface:
    """The interface of a module whose push constants are all words."""
    names: dict[int, str] = {}
    members: dict[tuple[int, int], str] = {}
    sizes: dict[int, int] = {}
    pointees: dict[int, int] = {}
    specialised: dict[int, int] = {}
    push: tuple[str, ...] = ()
    bindings: set[int] = set()
    for op, operands in instructions(spirv):
        if op == NAME:
            names[operands[0]] = _text(operands[1:])
        elif op == MEMBER_NAME:
            members[operands[0], operands[1]] = _text(operands[2:])
        elif op == TYPE_STRUCT:
            sizes[operands[0]] = len(operands) - 1
        elif op == TYPE_POINTER:
            pointees[operands[0]] = operands[2]
        elif op == DECORATE and operands[1] == SPEC_ID:
            specialised[operands[0]] = operands[2]
        elif op == DECORATE and operands[1] == BINDING:
            bindings.add(operands[2])
        elif op == VARIABLE and operands[2] == PUSH_CONSTANT:
            block = pointees[operands[0]]
            push = tuple(members.get((block, i), "") for i in range(sizes[block]))
    constants: dict[int, str] = {}
    for result, number in specialised.items():
        constants[number] = constants.get(number) or names.get(result, "")
    return Interface(constants, push, bindings)
