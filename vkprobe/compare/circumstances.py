"""Differences between two files' runs besides the driver: variables and the host. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vkprobe.compare.pairing import FileDevice
from vkprobe.results.keys import DeviceKey


def notes(old: Iterable[FileDevice], new: Iterable[FileDevice], names: tuple[str, str]) -> Iterator[str]:
    """A sentence for each variable and each fact of the host that differs between the runs behind the compared records."""
    left, right = _conditions(old), _conditions(new)
    if not left or not right:
        return
    variables = sorted({name for environment, _ in (*left, *right) for name in environment})
    for variable in variables:
        before, after = ([environment.get(variable) for environment, _ in side] for side in (left, right))
        yield from _differing(f"${variable}", before, after, names)
    for fact, title in (("cpu", "the host's CPU"), ("os", "the host's system"), ("kernel", "the host's kernel")):
        before, after = ([getattr(key, fact) for _, key in side] for side in (left, right))
        yield from _differing(title, before, after, names)


def _conditions(devices: Iterable[FileDevice]) -> list[tuple[dict[str, str], DeviceKey]]:
    """The environment of each device with its key; devices whose runs the file lacks say nothing."""
    return [(dict(one.key.environment), one.key) for one in devices if one.runs]


def _differing(what: str, old: list[str | None], new: list[str | None], names: tuple[str, str]) -> Iterator[str]:
    if set(old) != set(new):
        yield f"{what} differs: {_values(old)} in {names[0]}, {_values(new)} in {names[1]}"


def _values(values: list[str | None]) -> str:
    return " and ".join("unset" if v is None else v or "empty" for v in dict.fromkeys(values))
