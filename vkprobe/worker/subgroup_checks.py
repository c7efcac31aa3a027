"""Checks of subgroup operations: what each invocation got, against what the invocations of its subgroup hold.

Which invocations form a subgroup is what the device says; that it is the size asked for, and each lane there once, is checked too.
Source: GL_KHR_shader_subgroup.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vkprobe.worker.checks import Check, Input, Outcome, Run

_SEED = 20261123
_VALUES, _LANES = 0, 1  # bindings of inputs
_GROUPS = 2
_SEEN_WORDS = 8
_CLUSTER = 8
_LARGEST = 50

Words = NDArray[np.uint32]
Integers = NDArray[np.int64]

_WITH_PART = frozenset({"add", "max", "clustered_add", "clustered_max", "inclusive_add", "broadcast_first", "ballot", "all", "any"})
"""Operations that are defined where some invocations don't take part, whatever they are asked."""


def operation(run: Run, parameters: Mapping[str, Any]) -> Outcome:
    """One operation with all invocations and, where it is defined, with part of them; `size` was asked for where `required`."""
    name, local = str(parameters["operation"]), int(parameters["local"])
    count = local * _GROUPS
    rng = np.random.default_rng([_SEED, local])
    values = rng.integers(-_LARGEST, _LARGEST + 1, count).astype(np.int32)
    seen = _dispatch(run, values, np.zeros(count, np.uint32), (0, 0, 0))
    size = int(seen["size"][0])
    facts = {"subgroup_size": size}
    if parameters["required"] and size != parameters["size"]:
        return f"the subgroup size is {size}, {parameters['size']} was required", facts
    wrong = _places(seen, local)
    if wrong:
        return wrong, facts
    lanes = rng.integers(0, size, count).astype(np.uint32)
    for part in (False, True) if name in _WITH_PART else (False,):
        for which in _arguments(name, size):
            seen = _dispatch(run, values, lanes, (int(part), which & 0xFFFFFFFF, 0))
            wrong = _compare(name, seen, values, lanes, which, local)
            if wrong:
                among = "part of each subgroup active" if part else "all invocations active"
                argument = f", argument {which}" if len(_arguments(name, size)) > 1 else ""
                return f"{among}{argument}: {wrong}", facts
    return None, facts


def _dispatch(run: Run, values: Input, lanes: Input, push: tuple[int, int, int]) -> dict[str, Words]:
    count = values.size
    output = run({_VALUES: values, _LANES: lanes}, 4 * _SEEN_WORDS * count, push, _GROUPS)
    words = output.view(np.uint32).reshape(count, _SEEN_WORDS)
    return {"size": words[:, 0], "subgroup": words[:, 1], "lane": words[:, 2], "taken": words[:, 3], "got": words[:, 4:]}


def _arguments(name: str, size: int) -> tuple[int, ...]:
    """Values for `which`: masks, lanes or thresholds."""
    return {
        "shuffle_xor": tuple(dict.fromkeys((1, size // 2, size - 1))),
        "broadcast": tuple(dict.fromkeys((0, size // 2, size - 1))),
        "ballot": (0,),
        "all": (-_LARGEST - 1, -_LARGEST + 1, _LARGEST),
        "any": (_LARGEST, _LARGEST - 2, -_LARGEST - 1),
    }.get(name, (0,))


def _places(seen: dict[str, Words], local: int) -> str | None:
    """Whether each workgroup's invocations fill subgroups of one size, each lane once."""
    if np.unique(seen["size"]).size != 1:
        return f"invocations of one dispatch see subgroup sizes {sorted(set(seen['size'].tolist()))}"
    size = int(seen["size"][0])
    if size == 0 or size & (size - 1) or (seen["lane"] >= size).any():
        return f"the subgroup size is {size} and the largest lane {int(seen['lane'].max())}"
    for group in range(_GROUPS):
        part = slice(group * local, (group + 1) * local)
        places = seen["subgroup"][part].astype(np.int64) * size + seen["lane"][part]
        if np.unique(places).size != local:
            return f"of {local} invocations of a workgroup only {np.unique(places).size} have a lane of their own"
    return None


def _compare(name: str, seen: dict[str, Words], values: Input, lanes: Input, which: int, local: int) -> str | None:
    for group in range(_GROUPS):
        part = slice(group * local, (group + 1) * local)
        for subgroup in np.unique(seen["subgroup"][part]):
            members = np.nonzero(seen["subgroup"][part] == subgroup)[0] + group * local
            members = members[np.argsort(seen["lane"][members])]
            members = members[seen["taken"][members] == 1]
            if not members.size:
                continue
            at = seen["lane"][members].astype(np.int64)
            wanted, is_defined = expected(name, values[members].astype(np.int64), at, lanes[members].astype(np.int64), which)
            actual = seen["got"][members][:, : wanted.shape[1]]
            different = (actual != wanted).any(axis=1) & is_defined
            if different.any():
                i = int(np.nonzero(different)[0][0])
                return (
                    f"{int(different.sum())} of {members.size} invocations of subgroup {int(subgroup)} differ, "
                    f"the first in lane {int(at[i])}: {_words_text(name, actual[i])} instead of {_words_text(name, wanted[i])}"
                )
    return None


def _words_text(name: str, words: Words) -> str:
    if name == "ballot":
        return "0x" + "".join(f"{int(w):08x}" for w in reversed(words))
    if name in ("all", "any"):
        return "true" if words[0] else "false"
    return f"{words[:1].view(np.float32)[0]:g} (of floats) and {int(words[1:2].view(np.int32)[0])} (of integers)"


def expected(name: str, x: Integers, lane: Integers, target: Integers, which: int) -> tuple[Words, NDArray[np.bool_]]:
    """The words that each active invocation of one subgroup must get, and whether they are defined.

    Args:
        x: the active invocations' values, in the order of their lanes.
        lane: their lanes.
        target: the lane that each shuffles from.
        which: the kernel's argument.

    >>> expected("inclusive_add", np.array([3, 4]), np.array([0, 1]), np.array([0, 0]), 0)[0][:, 1].tolist()
    [3, 7]
    """
    by_lane = dict(zip(lane.tolist(), x.tolist(), strict=True))
    if name in ("all", "any"):
        holds = (x > which).all() if name == "all" else (x > which).any()
        return np.full((x.size, 1), int(holds), np.uint32), np.ones(x.size, np.bool_)
    if name == "ballot":
        bits = sum(1 << i for i, value in by_lane.items() if value > which)
        words = np.array([bits >> 32 * i & 0xFFFFFFFF for i in range(4)], np.uint32)
        return np.tile(words, (x.size, 1)), np.ones(x.size, np.bool_)
    results: dict[str, Callable[[int], Any]] = {
        "add": lambda i: x.sum(),
        "max": lambda i: x.max(),
        "clustered_add": lambda i: x[lane // _CLUSTER == lane[i] // _CLUSTER].sum(),
        "clustered_max": lambda i: x[lane // _CLUSTER == lane[i] // _CLUSTER].max(),
        "inclusive_add": lambda i: x[: i + 1].sum(),
        "broadcast_first": lambda i: x[0],
        "shuffle": lambda i: by_lane.get(int(target[i])),
        "shuffle_xor": lambda i: by_lane.get(int(lane[i]) ^ which),
        "broadcast": lambda i: by_lane.get(which),
    }
    got = [results[name](i) for i in range(x.size)]
    is_defined = np.array([value is not None for value in got])
    whole = np.array([0 if value is None else int(value) for value in got], np.int32)
    return np.stack([whole.astype(np.float32).view(np.uint32), whole.view(np.uint32)], axis=1), is_defined


SUBGROUP_CHECKS: Mapping[str, Check] = {"subgroup": operation}
