"""The machine's hardware as drivers need it: device nodes, their permissions, and the kernel's driver behind each."""

from __future__ import annotations

import grp
import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

DRM_FOLDER = Path("/dev/dri")
MODULES: dict[str, tuple[str, ...]] = {
    "radeon": ("amdgpu",),
    "amdvlk": ("amdgpu",),
    "nouveau": ("nouveau", "nova"),
    "nvidia": ("nvidia",),
    "intel": ("i915", "xe"),
    "intel_hasvk": ("i915",),
    "freedreno": ("msm", "kgsl"),
    "asahi": ("asahi",),
    "broadcom": ("v3d",),
    "panfrost": ("panfrost", "panthor"),
    "powervr_mesa": ("powervr",),
    "virtio": ("virtio_gpu",),
    "gfxstream": ("virtio_gpu",),
    "dzn": ("dxgkrnl",),
}
"""Kind of driver -> how the names of the kernel drivers begin whose devices it takes."""
SOFTWARE = frozenset({"lvp", "vk_swiftshader"})
"""Drivers that need no device node."""
_OTHER_NODES: dict[str, tuple[str, ...]] = {"nvidia": ("/dev/nvidiactl",), "dzn": ("/dev/dxg",)}


class Node(Struct, frozen=True, kw_only=True):
    """A device node: who may open it (the owning group), whether we may, and the kernel driver behind it where sysfs names it."""

    path: str
    group: str | None
    usable: bool
    module: str | None


class Absence(Struct, frozen=True, kw_only=True):
    """Why a driver finds no device here."""

    reason: str
    remedy: str | None


def kind(library: str) -> str:
    """A driver's short name as MODULES has it, from its library.

    >>> [kind(n) for n in ("/usr/lib/libvulkan_radeon.so", "libEGL_nvidia.so.0", "amdvlk64.so", "libfoo.so.1")]
    ['radeon', 'nvidia', 'amdvlk', 'libfoo']
    """
    name = os.path.basename(library)
    for short_name in ("nvidia", "amdvlk", "vk_swiftshader"):
        if short_name in name:
            return short_name
    return name.partition(".so")[0].removeprefix("libvulkan_")


def nodes(driver: str) -> list[Node]:
    """The device nodes that matter to a driver: render nodes, or those its vendor makes."""
    paths = [Path(p) for p in _OTHER_NODES[driver]] if driver in _OTHER_NODES else sorted(DRM_FOLDER.glob("renderD*"))
    return [_node(path) for path in paths if path.exists()]


def _node(path: Path) -> Node:
    try:
        group: str | None = grp.getgrgid(path.stat().st_gid).gr_name
    except (KeyError, OSError):
        group = None  # a container maps groups that have no name in it
    driver = Path("/sys/class/drm") / path.name / "device/driver"
    module = os.path.basename(os.path.realpath(driver)) if driver.exists() else "nvidia" if "nvidia" in path.name else None
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
        usable = True
    except PermissionError:  # its mode, or the container's device rules, which no mode shows
        usable = False
    except OSError:
        usable = True  # it may be opened but the device is in trouble: that is for the driver to report
    return Node(path=str(path), group=group, usable=usable, module=module)


def absence(driver: str, device_nodes: Sequence[Node]) -> Absence | None:
    """Why a driver that found no device did so; None where it should have found one: then it is the driver that failed.

    `driver` is a name that `kind` returns, `device_nodes` are what `nodes` returns; the function itself looks at nothing else.
    """
    if driver in SOFTWARE:
        return None
    modules = MODULES.get(driver, ())
    candidates = [node for node in device_nodes if not modules or node.module is None or node.module.startswith(modules)]
    if not device_nodes:
        looked = " or ".join(_OTHER_NODES.get(driver, (f"{DRM_FOLDER}/renderD*",)))
        needs = f" (kernel driver {' or '.join(modules)})" if modules else ""
        return Absence(reason=f"no hardware for it here: no {looked}{needs}", remedy=None)
    denied = [node for node in candidates if not node.usable]
    if denied:
        group = denied[0].group or "render"
        remedy = f"add yourself to the group {group} (`sudo usermod -aG {group} $USER`) and log in again"
        if group == "root":
            remedy = f"let a group of yours read and write {denied[0].path} (udev gives it to `render` on most distributions)"
        return Absence(reason=f"no permission on its device node {denied[0].path}", remedy=remedy)
    if not any(node.module.startswith(modules) for node in candidates if node.module):
        seen = ", ".join(f"{node.path} ({node.module or 'unknown'})" for node in device_nodes)
        needs = f", it needs {' or '.join(modules)}" if modules else ""
        return Absence(reason=f"no device node here is for it: {seen}{needs}", remedy=None)
    return None
