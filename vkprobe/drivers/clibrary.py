"""Which C library a worker runs on: the driver set's own, or the machine's where that is newer.

A newer C library runs older programs, never the other way round: the machine's Python runs on the set's C library only
while that is at least as new as the one Python was built for.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path

LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = "usr/lib64/ld-linux-x86-64.so.2"
HOST_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib")
_FALLBACK = "host-libraries"
_FALLBACK_CXX = "host-libraries-c++"
_CXX = re.compile(r"lib(stdc\+\+|gcc_s)\.so")
_OWN = re.compile(
    r"(ld-linux.*|lib(c|m|mvec|dl|rt|pthread|resolv|util|nsl|anl|thread_db|c_malloc_debug|memusage|pcprofile|BrokenLocale|nss_\w+))\.so(\.|$)"
)

Version = tuple[int, int]


def version_of(text: str | None) -> Version | None:
    """The first `N.N` in `text`.

    >>> version_of("glibc 2.41"), version_of("musl"), version_of(None)
    ((2, 41), None, None)
    """
    match = re.search(r"(\d+)\.(\d+)", text or "")
    return (int(match[1]), int(match[2])) if match else None


def host_version() -> Version | None:
    """The machine's GNU C library; None where Python runs on another one."""
    try:
        return version_of(os.confstr("CS_GNU_LIBC_VERSION"))
    except (ValueError, OSError):
        return None


@functools.lru_cache
def set_version(root: str) -> Version | None:
    """The C library in a driver set, as the library itself states it; None where it doesn't."""
    try:
        stated = re.search(rb"release version \d+\.\d+", (Path(root) / LIBRARIES / "libc.so.6").read_bytes())
    except OSError:
        return None
    return version_of(stated[0].decode()) if stated else None


def keeps_host_library(host: Version | None, of_set: Version | None) -> bool:
    """Whether a worker must stay on the machine's C library (the machine's is newer than the set's).

    >>> keeps_host_library((2, 42), (2, 41)), keeps_host_library((2, 36), (2, 41)), keeps_host_library(None, (2, 41))
    (True, False, False)
    """
    return host is not None and of_set is not None and host > of_set


def fallback_path(root: str, environment: Mapping[str, str]) -> str:
    """LD_LIBRARY_PATH for a worker that stays on the machine's C library and takes everything else from the set.

    The C++ runtime comes from the machine, which is as new as its C library, and from the set where the machine has none.
    """
    own = [environment["LD_LIBRARY_PATH"]] if environment.get("LD_LIBRARY_PATH") else []
    return ":".join([f"{root}/{_FALLBACK}", *own, *HOST_FOLDERS, f"{root}/{_FALLBACK_CXX}"])


def link_fallback(root: Path) -> None:
    """Make the two folders of links that `fallback_path` names, inside an unpacked set."""
    for folder in (_FALLBACK, _FALLBACK_CXX):
        (root / folder).mkdir()
    for library in sorted((root / LIBRARIES).glob("*.so*")):
        if not _OWN.match(library.name):
            folder = _FALLBACK_CXX if _CXX.match(library.name) else _FALLBACK
            (root / folder / library.name).symlink_to(f"../{LIBRARIES}/{library.name}")
