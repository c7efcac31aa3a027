"""Memory bandwidth: copies inside the device, and to and from the host."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from vkprobe.cell import Cell, cell
from vkprobe.errors import UsageError
from vkprobe.ops.base import Arithmetic, Axis, Op, Request, Scope
from vkprobe.program import Program
from vkprobe.records import DeviceRecord
from vkprobe.requirements.facts import lookup
from vkprobe.units import size

MODES = {
    "read": "read_shader",
    "shader": "copy_shader",
    "device": "copy_device",
    "to-host": "copy_to_host",
    "from-host": "copy_from_host",
}
"""Modes, those that never leave the device's memory first -> their kernels, or the names of the transfers."""
INSIDE = ("shader", "read", "device")
"""Modes that never leave the device's memory."""
PATHS = {"scalar-f32": ("shader", "read"), "transfer": ("device", "to-host", "from-host")}
"""--path's words: copies by a shader, copies by the device's own command."""

_MIB = 1 << 20
_BYTES, _BYTES_CPU = 256 * _MIB, 8 * _MIB


def copied_bytes(device: DeviceRecord) -> int:
    """256 MiB, or less if an eighth of the largest heap or a buffer holds less; whole MiB."""
    heaps = [h.bytes // 8 for h in device.heaps or [] if h.device_local]
    range_bytes = lookup(device.properties, "VkPhysicalDeviceProperties", "limits.maxStorageBufferRange")
    allocation = lookup(device.properties, "VkPhysicalDeviceMaintenance3Properties", "maxMemoryAllocationSize")
    wanted = _BYTES_CPU if device.type == "cpu" else _BYTES
    most = [wanted, *([max(heaps)] if heaps else []), *(int(limit) for limit in (range_bytes, allocation) if limit)]
    return max(1, min(most) // _MIB) * _MIB


class Copy(Op):
    """The roofline's bandwidth."""

    name = "copy"
    title = "What memory delivers: copies inside the device, and to and from the host."
    axes = (Axis(name="bytes", meaning="copied", unit="B"),)
    variant = ("mode",)
    note = "bytes read and written per second, between device and host those that cross"
    ceiling = True

    def axes_of(self, text: str) -> NoReturn:
        """A copy is as large as its device allows."""
        raise UsageError(f"--shape {text}: copy takes no shape")

    def cells(self, request: Request, device: DeviceRecord) -> list[Cell]:
        """A cell per mode, all of one size: beyond caches but on CPU devices."""
        modes = [mode for path, of_path in PATHS.items() if not request.paths or path in request.paths for mode in of_path]
        return [cell(self.name, {"bytes": copied_bytes(device)}, mode=mode) for mode in modes]

    def defaults(self, device: DeviceRecord, scope: Scope, types: Sequence[str] = (), paths: Sequence[str] = ()) -> list[Cell]:
        """Every mode; `compile` has those that a shader copies, in full only."""
        if scope == "compile" or types:
            return []
        chosen = self.cells(Request(paths=paths), device)
        return [one for one in chosen if one.variant.mode in PATHS["scalar-f32"]] if scope == "compile-full" else chosen

    def size(self, cell: Cell) -> str:
        """The size in binary units."""
        return size(cell.axis("bytes"))

    def limits(self, cell: Cell, arithmetics: Collection[Arithmetic]) -> bool:
        """A copy inside the device limits every cell."""
        return cell.variant.mode in INSIDE

    def traffic_bytes(self, program: Program) -> int:
        """Bytes moved, to and from the host included; a copy that only reads writes next to nothing."""
        inside = program.cell.variant.mode in ("shader", "device")
        return 2 * program.source.bytes if inside else program.source.bytes

    def kind(self, cell: Cell) -> str:
        """How it copies, and between which memories."""
        mode = cell.variant.mode or ""
        return MODES.get(mode, mode)

    def how(self, cell: Cell) -> tuple[str, ...]:
        """The mode says everything."""
        return ()

    def cell_name(self, cell: Cell) -> str:
        """`copy/copy_shader/268435456`."""
        return f"{cell.op}/{self.kind(cell)}/{cell.axis('bytes')}"

    def sentence(self, cell: Cell) -> str:
        """The kernel's name."""
        return self.kind(cell)

    def roof(self, cell: Cell) -> bool:
        """Copies that stay inside the device."""
        return cell.variant.mode in INSIDE

    def order(self, cell: Cell) -> tuple[Any, ...]:
        """Inside the device first."""
        return (list(MODES).index(cell.variant.mode) if cell.variant.mode in MODES else len(MODES), cell.axes)


OP = Copy()
