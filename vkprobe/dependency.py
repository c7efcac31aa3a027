"""Conditions of the Vulkan registry: versions and extensions joined by `,` (or), `+` (and) and parentheses."""

from __future__ import annotations

import re
from collections.abc import Collection

_TOKEN = re.compile(r"[(),+]|[^\s(),+]+")


def versions(api: int) -> set[str]:
    """Names of the core versions that a packed `api` version contains.

    >>> sorted(versions(1 << 22 | 2 << 12))
    ['VK_VERSION_1_0', 'VK_VERSION_1_1', 'VK_VERSION_1_2']
    """
    if api >> 22 & 0x7F > 1:
        return {f"VK_VERSION_1_{minor}" for minor in range(10)}
    return {f"VK_VERSION_1_{minor}" for minor in range((api >> 12 & 0x3FF) + 1)}


def satisfied(condition: str, names: Collection[str]) -> bool:
    """Whether `condition` holds where exactly `names` are there; an empty condition always does.

    As the registry's own scripts have it, `,` and `+` have equal rank and are read from the left.

    >>> satisfied("VK_VERSION_1_2,VK_KHR_8bit_storage", {"VK_KHR_8bit_storage"})
    True
    >>> satisfied("(VK_VERSION_1_2,VK_KHR_x)+VK_EXT_y", {"VK_EXT_y"})
    False
    """
    tokens = _TOKEN.findall(condition)
    if not tokens:
        return True
    value, position = _sequence(tokens, 0, names)
    if position != len(tokens):
        raise ValueError(f"not a condition: {condition!r}")
    return value


def _sequence(tokens: list[str], position: int, names: Collection[str]) -> tuple[bool, int]:
    value, position = _term(tokens, position, names)
    while position < len(tokens) and tokens[position] in ",+":
        both = tokens[position] == "+"
        right, position = _term(tokens, position + 1, names)
        value = (value and right) if both else (value or right)
    return value, position


def _term(tokens: list[str], position: int, names: Collection[str]) -> tuple[bool, int]:
    if position >= len(tokens) or tokens[position] in "),+":
        raise ValueError(f"not a condition: {''.join(tokens)!r}")
    if tokens[position] != "(":
        return tokens[position] in names, position + 1
    value, position = _sequence(tokens, position + 1, names)
    if position >= len(tokens) or tokens[position] != ")":
        raise ValueError(f"not a condition: {''.join(tokens)!r}")
    return value, position + 1
