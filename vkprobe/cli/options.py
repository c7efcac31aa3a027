"""Options that several verbs share: which drivers, which devices, which form of table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import Struct

from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import UsageError
from vkprobe.report.tables import FORMATS

F = TypeVar("F", bound=Callable[..., Any])


class DriverChoice(Struct, frozen=True, kw_only=True):
    """What a command line says of drivers and devices: the values of --driver, --null, --device, --drivers and --shim."""

    drivers: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    config: Path | None = None
    shim: str | None = None

    @property
    def asked(self) -> bool:
        """Whether drivers were asked for by name: then one that fails decides the exit status."""
        return bool(self.drivers or self.nulls)

    def specs(self) -> list[DriverSpec]:
        """The drivers to work on; raises as `vkprobe.drivers.select.resolve` does."""
        from vkprobe.drivers.select import resolve

        return resolve(self.drivers, self.nulls, config=self.config, shim=self.shim)


_OPTIONS = (
    click.option(
        "--driver",
        "drivers",
        multiple=True,
        metavar="X",
        help="A name that `vkprobe drivers` lists, the path of an ICD manifest, or a name from vkprobe.toml. May be repeated.",
    ),
    click.option(
        "--null",
        "nulls",
        multiple=True,
        metavar="FAMILY:CHIP",
        help="A null device, which compiles and executes nothing: radv:gfx1201, nvk:172, anv:bmg, turnip:750, radv:navi21,navi31@trixie.",
    ),
    click.option(
        "--device", "devices", multiple=True, metavar="N|TEXT", help="Only the driver's device N, or those with TEXT in their name."
    ),
    click.option(
        "--drivers",
        "config",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE.toml",
        help="Where --driver's own names come from, in place of vkprobe.toml in the current folder.",
    ),
    click.option("--shim", metavar="PATH", help="The shim library for --null (Intel's may also be in VKPROBE_INTEL_SHIM)."),
)


def driver_options(command: F) -> F:
    """Add --driver, --null, --device, --drivers and --shim; the command receives them as `choice: DriverChoice`."""

    @functools.wraps(command)
    def collected(
        *args: Any,
        drivers: tuple[str, ...],
        nulls: tuple[str, ...],
        devices: tuple[str, ...],
        config: Path | None,
        shim: str | None,
        **rest: Any,
    ) -> Any:
        return command(*args, choice=DriverChoice(drivers=drivers, nulls=nulls, devices=devices, config=config, shim=shim), **rest)

    decorated: Any = collected
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def format_option(command: F) -> F:
    """Add --format, which the command receives as `form`."""
    option = click.option(
        "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How the table is printed."
    )
    return option(command)


def select_device(devices: Sequence[tuple[int, str]], wanted: Sequence[str]) -> list[int]:
    """Indexes of the `(index, name)` pairs that --device's values choose: by index, or by a part of the name; all without a value.

    >>> select_device([(0, "NVIDIA H200"), (1, "llvmpipe")], ["LLVM", "0"])
    [0, 1]

    Raises:
        UsageError: a value chooses none of them.
    """
    if not wanted:
        return [index for index, _ in devices]
    chosen: set[int] = set()
    for value in wanted:
        matching = {i for i, name in devices if (str(i) == value if value.isdecimal() else value.lower() in name.lower())}
        if not matching:
            there = ", ".join(f"{i} ({name})" for i, name in devices) or "none"
            raise UsageError(f"--device {value}: no such device; there is {there}")
        chosen |= matching
    return [index for index, _ in devices if index in chosen]
