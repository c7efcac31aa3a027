"""The driver that this process really loaded: its library's build id, the kernel module below."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PT_NOTE = 4
_NT_GNU_BUILD_ID = 3


def _notes(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    position = 0
    while position + 12 <= len(data):
        name_size, desc_size, kind = struct.unpack_from("<III", data, position)
        name_at = position + 12
        desc_at = name_at + (name_size + 3 & ~3)
        yield kind, data[name_at : name_at + name_size].rstrip(b"\0"), data[desc_at : desc_at + desc_size]
        position = desc_at + (desc_size + 3 & ~3)


def build_id(path: str | Path) -> str | None:
    """The GNU build id of a 64-bit little-endian ELF file as hex; None where it has none or is no such file.

    Source: System V ABI, "Note Section"; ld's --build-id.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(64)
            if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
                return None
            headers_at, header_size, headers = struct.unpack("<Q14xHH", head[32:58])
            for index in range(headers):
                file.seek(headers_at + index * header_size)
                kind, _, offset, _, _, size = struct.unpack("<IIQQQQ", file.read(40))
                if kind != _PT_NOTE:
                    continue
                file.seek(offset)
                for note, name, desc in _notes(file.read(min(size, 1 << 16))):
                    if note == _NT_GNU_BUILD_ID and name == b"GNU":
                        return desc.hex()
    except (OSError, struct.error):
        return None  # unreadable or cut short: its identity is unknown, which is no reason to fail
    return None


def mapped_files() -> list[str]:
    """Paths of the files mapped into this process."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        return list(dict.fromkeys(line.split(None, 5)[5].rstrip("\n") for line in maps if "/" in line))


def manifest() -> str | None:
    """The ICD manifest that this process runs on; None where the loader chose by itself or among several."""
    named = os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES") or ""
    return named if named and os.pathsep not in named else None


def driver_library(icd: str | None, mapped: list[str]) -> str | None:
    """The mapped file that is the manifest's library, which it may name through a link, or by soname only."""
    if icd is None:
        return None
    try:
        named = json.loads(Path(icd).read_text())["ICD"]["library_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the loader refuses such a manifest and says so; here it is only unknown
    if "/" in named:
        real = os.path.realpath(os.path.join(os.path.dirname(icd), named))
        return real if real in mapped else None
    stem = named.partition(".so")[0] + ".so"
    return next((p for p in mapped if os.path.basename(p) == named), None) or next(
        (p for p in mapped if os.path.basename(p).startswith(stem)), None
    )


def shimmed(mapped: list[str]) -> bool:
    """Whether a drm-shim stands between the driver and the kernel."""
    return any("drm_shim" in os.path.basename(p) for p in mapped)


def kernel_module(properties: dict[str, dict[str, Any]], pci: str | None, sys: str = "/sys") -> str | None:
    """The kernel module below a device, by its DRM node or its PCI address; None where neither is known."""
    drm = properties.get("VkPhysicalDeviceDrmPropertiesEXT", {})
    kinds = [kind for kind in ("render", "primary") if drm.get(f"has{kind.capitalize()}")]
    nodes = [f"{sys}/dev/char/{drm[f'{kind}Major']}:{drm[f'{kind}Minor']}/device" for kind in kinds]
    if pci is not None:
        nodes.append(f"{sys}/bus/pci/devices/{pci}")
    for node in nodes:
        for link in ("driver/module", "driver"):
            if os.path.islink(f"{node}/{link}"):
                return os.path.basename(os.path.realpath(f"{node}/{link}"))
    return None
