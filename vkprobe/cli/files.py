"""Devices from files beside those of drivers: --from, and what names one device (a driver's, a null one or a file's)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec.structs import replace

from vkprobe.cli.devices import gathered, status_of
from vkprobe.cli.options import DriverChoice, select_device
from vkprobe.drivers.null import FAMILIES
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import EXIT_DRIVER, DriverError, UsageError
from vkprobe.facts import Gathered
from vkprobe.records import DeviceRecord
from vkprobe.results.devices import devices_from, devices_from_all

F = TypeVar("F", bound=Callable[..., Any])

_MANIFEST_HEAD = re.compile(rb'^[^{]*\{[^{]*"(ICD|file_format_version)"')


def from_option(command: F) -> F:
    """Add --from, which the command receives as `files`."""
    option = click.option(
        "--from",
        "files",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="vulkaninfo's or gpuinfo.org's JSON, or vkprobe records, as if it were a device. May be repeated.",
    )
    return option(command)


def gathered_beside(choice: DriverChoice, files: Sequence[Path], run: str) -> Gathered:
    """The facts of the chosen drivers' devices, then those of the files; of files alone where drivers are not asked for.

    Raises:
        UsageError: a file is none, or --device chooses none.
    """
    from_files = devices_from_all(files, run)  # first: a bad file must not wait for drivers
    if not files:
        return gathered(choice, run)
    if choice.asked:
        facts = gathered(choice, run)
        return replace(facts, devices=[*facts.devices, *from_files])
    chosen = select_device([(index, device.name) for index, device in enumerate(from_files)], choice.devices)
    return Gathered(drivers=[], devices=[from_files[index] for index in chosen])


class Side:
    """One of two devices to compare, as `text` names it: a driver's or null device's (`NAME` or `NAME/INDEX`), or a file's (`FILE/INDEX`).

    Raises:
        UsageError: the name is none; as `vkprobe.drivers.select.resolve`.
    """

    def __init__(self, text: str, choice: DriverChoice) -> None:
        self.text = text
        name, index = _split(text)
        self.index = index
        self.file = Path(name) if _is_file_of_facts(name) else None
        self.specs: list[DriverSpec] = []
        if self.file is None:
            null = name.partition(":")[0] in FAMILIES
            one = DriverChoice(drivers=() if null else (name,), nulls=(name,) if null else (), config=choice.config, shim=choice.shim)
            self.specs = one.specs()

    def pick(self, devices: Sequence[DeviceRecord]) -> DeviceRecord:
        """The device among `devices` that `text` names.

        Raises:
            UsageError: there are several, or none of that index.
        """
        if self.index is None and len(devices) == 1:
            return devices[0]
        there = ", ".join(f"{device.index} ({device.name})" for device in devices)
        if self.index is None:
            raise UsageError(f"--diff {self.text}: has {len(devices)} devices: choose one with {self.text}/N of {there}")
        chosen = [device for device in devices if device.device.endswith(f"/{self.index}")]
        if not chosen:
            raise UsageError(f"--diff {self.text}: no device {self.index}; there is {there}")
        return chosen[0]


def _split(text: str) -> tuple[str, int | None]:
    """Name and index of `NAME/INDEX`; no index where that is a path of its own.

    >>> _split("embedded:lvp/0"), _split("radv:navi31")
    (('embedded:lvp', 0), ('radv:navi31', None))
    """
    name, slash, index = text.rpartition("/")
    if slash and index.isdecimal() and len(index) < 6 and not Path(text).exists():
        return name, int(index)
    return text, None


def _is_file_of_facts(name: str) -> bool:
    """Whether a name is a file's, and not that of an ICD manifest or of a driver."""
    path = Path(name)
    if not path.is_file():
        return name.endswith((".json", ".jsonl")) and "_icd." not in name  # a missing file is reported as such
    try:
        with open(path, "rb") as file:
            return _MANIFEST_HEAD.match(file.read(4096)) is None
    except OSError:
        return True  # reading it says what is the matter


def gathered_pair(first: str, second: str, choice: DriverChoice, run: str) -> tuple[Gathered, DeviceRecord, DeviceRecord]:
    """Facts gathered for two devices, then each device's own; both drivers are asked at once.

    Raises:
        UsageError: a name or file that is none, or that leaves open which device is meant.
        DriverError: a driver gave no device; its reason is the message, its status as that of any verb.
    """
    sides = [Side(first, choice), Side(second, choice)]
    files = list(dict.fromkeys(side.file for side in sides if side.file is not None))
    alike = len({path.stem for path in files}) < len(files)
    by_file = {path: devices_from(path, run, name=f"{path.stem}-{i}" if alike else None) for i, path in enumerate(files, 1)}
    specs: list[DriverSpec] = []
    for side in sides:
        specs += [spec for spec in side.specs if spec not in specs]
    facts = gathered(choice, run, specs) if specs else Gathered(drivers=[], devices=[])
    picked = []
    for side in sides:
        if side.file is not None:
            picked.append(side.pick(by_file[side.file]))
            continue
        names = {spec.name for spec in side.specs}
        devices = [device for device in facts.devices if device.driver_name in names]
        if not devices:
            reasons = "; ".join(f"{d.reason}" + (f" -> {d.remedy}" if d.remedy else "") for d in facts.drivers if d.spec.name in names)
            error = DriverError(f"--diff {side.text}: {reasons or 'no device'}")
            error.status = status_of(replace(facts, devices=[*facts.devices, *chain(*by_file.values())]), asked=True) or EXIT_DRIVER
            raise error
        picked.append(side.pick(devices))
    return facts, picked[0], picked[1]
