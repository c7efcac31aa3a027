"""Whether this machine has a Vulkan loader, found without loading it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from vkprobe.drivers import clibrary, embedded

SONAME = "libvulkan.so.1"


def _configured(conf: Path, depth: int = 0) -> Iterator[str]:
    """The folders of ld.so.conf and what it includes."""
    try:
        text = conf.read_text(errors="replace")
    except OSError:
        return  # absent: then only the standard folders count
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words[:1] == ["include"] and depth < 5:
            for pattern in words[1:]:
                for included in sorted(conf.parent.glob(pattern) if not pattern.startswith("/") else Path("/").glob(pattern[1:])):
                    yield from _configured(included, depth + 1)
        elif words and words[0].startswith("/"):
            yield words[0]


def system_loader(environment: Mapping[str, str] | None = None) -> Path | None:
    """The system's Vulkan loader: in LD_LIBRARY_PATH, the dynamic linker's folders, or its cache; None where there is none."""
    env = os.environ if environment is None else environment
    folders = [f for f in re.split("[:;]", env.get("LD_LIBRARY_PATH", "")) if f]
    multiarch = f"/usr/lib/{platform.machine()}-linux-gnu"
    folders += [*_configured(Path("/etc/ld.so.conf")), multiarch, *clibrary.HOST_FOLDERS, "/lib64", "/lib", "/usr/local/lib"]
    for folder in folders:
        if (Path(folder) / SONAME).is_file():
            return Path(folder) / SONAME
    return _cached()


def _cached() -> Path | None:
    ldconfig = next((p for p in ("/sbin/ldconfig", "/usr/sbin/ldconfig", "/usr/bin/ldconfig") if os.access(p, os.X_OK)), None)
    if ldconfig is None:
        return None
    try:
        listed = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, errors="replace", timeout=5).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    # A 64-bit library's line names its architecture; a 32-bit one's is plain `(libc6)` beside it.
    match = re.search(rf"^\s*{re.escape(SONAME)} \(libc6,[^)]*\) => (\S+)", listed, re.M)
    return Path(match[1]) if match else None


def root_for_system_drivers() -> str | None:
    """The driver set whose loader the system's drivers run on: None for the system's own, which they have where there is one."""
    suites = embedded.fetched_suites()
    if not suites or system_loader() is not None:
        return None
    return str(embedded.root(suites[0]))
