"""`vkprobe copy` and `vkprobe peak`: the roofline's two ceilings, as this driver delivers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from vkprobe import ops
from vkprobe.cli.bench import measure_and_show, words
from vkprobe.cli.measuring import measuring_options
from vkprobe.cli.options import DriverChoice
from vkprobe.kernels import kernels
from vkprobe.ops.base import Request
from vkprobe.ops.copy import PATHS as COPY_PATHS

_PEAK_PATHS = tuple(dict.fromkeys(k.path for k in kernels().values() if k.op == "peak"))
_PEAK_TYPES = tuple(dict.fromkeys(k.type for k in kernels().values() if k.op == "peak"))


@click.command()
@click.option(
    "--path", "paths", multiple=True, metavar="P", help=f"By shader or by copy command: {', '.join(COPY_PATHS)}.  [default: both]"
)
@measuring_options
def copy(choice: DriverChoice, form: str, paths: Sequence[str], **options: Any) -> None:
    """Measure memory bandwidth: copies inside the device, and to and from the host.

    256 MiB, less on small devices. Bytes read and written count; of a shader that only reads those read, to and from the host each once.
    """
    request = Request(paths=words("--path", paths, tuple(COPY_PATHS)))
    measure_and_show(choice, form, lambda device: ops.find("copy").cells(request, device), **options)


@click.command()
@click.option("--path", "paths", multiple=True, metavar="P", help=f"Path: {', '.join(_PEAK_PATHS)}.  [default: all]")
@click.option("--type", "types", multiple=True, metavar="T", help=f"Type that is multiplied: {', '.join(_PEAK_TYPES)}.  [default: all]")
@measuring_options
def peak(choice: DriverChoice, form: str, paths: Sequence[str], types: Sequence[str], **options: Any) -> None:
    """Measure peak arithmetic: multiply-adds from registers, of vectors and of each cooperative-matrix tuple.

    Every result is checked exactly.
    """
    request = Request(paths=words("--path", paths, _PEAK_PATHS), types=words("--type", types, _PEAK_TYPES))
    measure_and_show(choice, form, lambda device: ops.find("peak").cells(request, device), **options)
