"""What else than the driver differs between the runs of two files: variables, the host. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from vkprobe.compare.pairing import Held
from vkprobe.records import RunRecord

_NO_DRIVER_S = re.compile(r"VK_(DRIVER_FILES|ICD_FILENAMES|ADD_DRIVER_FILES)|NV_\w*(VERSION|PACKAGE|HEADERS)\w*")
"""Variables that choose the driver, which the table's title tells, and those of NVIDIA's container images, which no driver reads."""


def notes(old: Iterable[Held], new: Iterable[Held], names: tuple[str, str]) -> Iterator[str]:
    """A sentence for each variable and each fact of the host that differs between the runs behind the compared records."""
    left, right = _runs(old), _runs(new)
    if not left or not right:
        return
    variables = sorted({v for run in (*left, *right) for v in run.environment if not _NO_DRIVER_S.fullmatch(v)})
    for variable in variables:
        yield from _differing(
            f"${variable}", [r.environment.get(variable) for r in left], [r.environment.get(variable) for r in right], names
        )
    for fact, title in (("cpu", "the host's CPU"), ("os", "the host's system"), ("kernel", "the host's kernel")):
        yield from _differing(title, [getattr(r.host, fact) for r in left], [getattr(r.host, fact) for r in right], names)


def _runs(devices: Iterable[Held]) -> list[RunRecord]:
    return list({run.run: run for one in devices for run in one.runs}.values())


def _differing(what: str, old: list[str | None], new: list[str | None], names: tuple[str, str]) -> Iterator[str]:
    if set(old) != set(new):
        yield f"{what} differs: {_values(old)} in {names[0]}, {_values(new)} in {names[1]}"


def _values(values: list[str | None]) -> str:
    return " and ".join("unset" if v is None else v or "empty" for v in dict.fromkeys(values))
