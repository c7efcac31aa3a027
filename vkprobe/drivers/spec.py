"""A driver: an ICD manifest plus the environment it runs in."""

from __future__ import annotations

from msgspec import Struct


class DriverSpec(Struct, frozen=True, kw_only=True):
    """Everything needed to start a worker that sees exactly this driver.

    Attributes:
        name: as records and tables show it (`nvidia`, `embedded:lvp`, `nvk:172`); a device is `name/index`.
        icd: path of the ICD manifest; the loader sees no other.
        environment: variables set for this driver on top of vkprobe's own.
        preload: libraries loaded into the worker before all others (a drm-shim), absolute paths.
        launcher: argv put before Python (`nice -n 5`, `gdb --args`).
        null: its devices enumerate and compile but execute nothing.
        root: folder of an unpacked driver set whose dynamic loader, C library and Vulkan loader the worker runs on;
            None for the system's.
        fault: why this driver can't even be started (a bad manifest), with `remedy`; None where nothing is known against it.
    """

    name: str
    icd: str | None
    environment: dict[str, str] = {}
    preload: tuple[str, ...] = ()
    launcher: tuple[str, ...] = ()
    null: bool = False
    root: str | None = None
    fault: str | None = None
    remedy: str | None = None
