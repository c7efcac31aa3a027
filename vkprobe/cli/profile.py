"""`vkprobe profile`: Vulkan-Profiles JSON of a device's facts, or of what llama.cpp's paths require."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from vkprobe.cli.devices import complain, leave, status_of
from vkprobe.cli.files import from_option, gathered_beside
from vkprobe.cli.options import DriverChoice, driver_options
from vkprobe.cli.outputs import distinct, writable, write_report
from vkprobe.drivers.null import FAMILIES
from vkprobe.errors import EXIT_OK, UsageError
from vkprobe.results.profile import device_profile, device_sidecar, path_profile, path_sidecar
from vkprobe.results.provenance import run_record


@click.command()
@click.argument("device", required=False)
@driver_options
@from_option
@click.option(
    "--path", "paths", multiple=True, metavar="PATH", help="What this llama.cpp path requires, in place of a device. May be repeated."
)
@click.option("-o", "output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.json", help="Write there, not to stdout.")
def profile(device: str | None, choice: DriverChoice, files: tuple[Path, ...], paths: tuple[str, ...], output: Path | None) -> None:
    """Vulkan-Profiles JSON of a device, or of what llama.cpp's paths require.

    DEVICE is a driver or a null device as --driver and --null take it. The profiles' schema has no place for cooperative-matrix
    tuples: with -o FILE.json they are written to FILE.tuples.json beside it.

    \b
    vkprobe profile nvk:172 -o nvk.json
    vkprobe profile --path coopmat2 -o coopmat2.json
    """
    sidecar = _sidecar(output) if output is not None else None
    read = [*choice.files(), ("DEVICE", device), *(("--from", path) for path in files), *(("--from", _sidecar(path)) for path in files)]
    distinct([("-o", output), ("-o's tuples", sidecar)], read)
    writable(output, sidecar)
    asked = choice.asked or bool(files) or device is not None
    if paths:
        if asked:
            raise UsageError("--path writes what a path requires: leave out the device")
        _write(path_profile(paths), path_sidecar(paths), output)
        return
    if device is not None:
        null = device.partition(":")[0] in FAMILIES
        chosen = (*choice.nulls, device) if null else choice.nulls
        choice = replace(choice, nulls=chosen, drivers=choice.drivers if null else (*choice.drivers, device))
    facts = gathered_beside(choice, files, run_record().run)
    complain(facts)
    if len(facts.devices) > 1:
        raise UsageError(f"a profile is of one device: choose one of {', '.join(d.device for d in facts.devices)} with --device")
    for one in facts.devices:
        _write(device_profile(one), device_sidecar(one), output)
    leave(status_of(facts, asked=choice.asked) if facts.drivers else EXIT_OK)


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".tuples.json")


def _write(document: dict[str, Any], sidecar: dict[str, Any], output: Path | None) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    if sidecar:
        write_report(_sidecar(output), json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n")
    write_report(output, text)
