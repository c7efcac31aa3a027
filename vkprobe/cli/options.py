"""Options that several verbs share: which drivers, which devices, which form of table."""

from __future__ import annotations

import functools
import math
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
    """Drivers and devices chosen on the command line: the values of --driver, --null, --device, --drivers and --shim."""

    drivers: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    config: Path | None = None
    shim: str | None = None

    @property
    def asked(self) -> bool:
        """Whether drivers were asked for by name: then one that fails decides the exit status."""
        return bool(self.drivers or self.nulls)

    def files(self) -> list[tuple[str, str | Path | None]]:
        """The files that they name, each beside its option's name."""
        return [("--drivers", self.config), ("--shim", self.shim), *(("--driver", name) for name in self.drivers)]

    def specs(self) -> list[DriverSpec]:
        """The drivers to work on; raises as `vkprobe.drivers.select.resolve` does."""
        from vkprobe.drivers.select import resolve

        return resolve(self.drivers, self.nulls, config=self.config, shim=self.shim)


_MOST_S = 86400.0  # a day; far beyond it, clocks and waits overflow


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """The callback of a limit: a duration (s) from 0.1 to a day."""
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0.1 <= number <= _MOST_S:
        option = param.opts[0]
        raise UsageError(f"{option} {value}: expected a number of seconds from 0.1 to {_MOST_S:.0f}, as in {option} 20")
    return number


def limit_option(name: str, of: str, default_s: float) -> Callable[[F], F]:
    """A limit in seconds; the command receives None where it is not given."""
    return click.option(name, callback=_seconds, metavar="S", help=f"Of one {of}, in seconds.  [default: {default_s:g}]")


def output_options(command: F) -> F:
    """Add -o (`output`), --json (`as_records`) and --format (`form`), of which only one may shape standard output."""
    decorated = click.option("--json", "as_records", is_flag=True, help="Records on stdout, one a line, as they come.")(
        format_option(command)
    )
    return click.option(
        "-o", "output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.jsonl", help="Append the records to a file."
    )(decorated)


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
    """Add --format, which the command receives as `form`; with --json it is refused."""

    @functools.wraps(command)
    def checked(*args: Any, form: str, **rest: Any) -> Any:
        if rest.get("as_records") and form != "table":
            raise UsageError(f"--json prints records, --format {form} the table: give one of them")
        return command(*args, form=form, **rest)

    decorated: Any = checked
    option = click.option(
        "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How the table is printed."
    )
    return option(decorated)  # type: ignore[no-any-return]


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
