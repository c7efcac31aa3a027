"""ICD manifests: found where the Vulkan loader finds them on Linux, read as it reads them, with the reason where it would drop one.

Source: Vulkan-Loader@14406049 loader/loader.c (read_data_files_in_search_paths, loader_parse_icd_manifest, loader_icd_scan).
Its settings file (vk_loader_settings.json) is not read: it is a developer's tool that replaces the search altogether.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from vkprobe.drivers.spec import DriverSpec

_RELATIVE = "vulkan/icd.d"
_SYSCONFDIR = "/etc"
_MATCH_ALL = frozenset({"*", "**", "~all~"})
_ARCH = re.compile(r"\.(x86_64|amd64|aarch64|arm64|riscv64|ppc64le|s390x|loongarch64|i[3-6]86|x86|arm|armv7l|armhf)$")
_ARCH_32 = re.compile(r"\.(i[3-6]86|x86|arm|armv7l|armhf)\.json$|_icd32\.json$")
_REINSTALL = "reinstall the package that it belongs to, or remove the file"


class Manifest(Struct, frozen=True, kw_only=True):
    """Contents of an ICD manifest.

    Attributes:
        library: what the loader passes to dlopen: an absolute path, or a bare name for the dynamic linker's own search.
        api_version: as written.
        arch: `library_arch` ("32", "64"), None where it isn't given.
    """

    path: str
    library: str
    api_version: str
    arch: str | None = None


class ManifestFault(Exception):
    """Why the loader would drop this manifest, and what to do about it."""

    def __init__(self, reason: str, remedy: str = _REINSTALL) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def read(path: Path) -> Manifest:
    """The manifest at `path`, `library_path` resolved.

    Raises:
        ManifestFault: it can't be read, is not JSON (line and column are named), lacks a field, or names a file that isn't there.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ManifestFault(f"manifest {path} does not exist", "check the path; `vkprobe drivers` lists what is installed") from None
    except OSError as error:
        raise ManifestFault(f"manifest {path} can't be read: {error.strerror}", "check the file's permissions") from None
    except UnicodeDecodeError as error:
        raise ManifestFault(f"manifest {path} is not UTF-8 text (byte {error.start})") from None
    try:
        # Like the loader's parser: control characters in strings and text behind the object are let through.
        document, _ = json.JSONDecoder(strict=False).raw_decode(text.lstrip())
    except json.JSONDecodeError as error:
        line = error.lineno + text[: len(text) - len(text.lstrip())].count("\n")
        raise ManifestFault(f"manifest {path} is not JSON at line {line} column {error.colno}") from None
    except RecursionError:
        raise ManifestFault(f"manifest {path} is not an ICD manifest: nested too deep") from None
    return _checked(path, document)


def _checked(path: Path, document: object) -> Manifest:
    if not isinstance(document, dict):
        raise ManifestFault(f"manifest {path} is not a JSON object")
    icd = document.get("ICD")
    if not isinstance(icd, dict):
        raise ManifestFault(f"manifest {path} has no `ICD` object", "give an ICD manifest (a layer's manifest is no driver)")
    if not isinstance(document.get("file_format_version"), str):
        raise ManifestFault(f"manifest {path} has no `file_format_version`; the loader skips it", 'add "file_format_version": "1.0.1"')
    library, api = icd.get("library_path"), icd.get("api_version")
    if not isinstance(library, str) or not library:
        raise ManifestFault(f"manifest {path} has no `library_path`")
    if not isinstance(api, str):
        raise ManifestFault(f"manifest {path} has no `api_version`; the loader skips it", 'add "api_version" to its `ICD` object')
    if "/" in library:
        library = os.path.normpath(path.absolute().parent / library)
        if not os.path.exists(library):
            raise ManifestFault(f"library {library} does not exist (named by {path})")
    arch = icd.get("library_arch")
    return Manifest(path=str(path), library=library, api_version=api, arch=arch if isinstance(arch, str) else None)


def _environment(environment: Mapping[str, str] | None) -> Mapping[str, str]:
    """The environment as the loader sees it: empty in a setuid or setgid process."""
    if os.getuid() != os.geteuid() or os.getgid() != os.getegid():
        return {}
    return os.environ if environment is None else environment


def search_paths(environment: Mapping[str, str] | None = None) -> list[Path]:
    """The folders and manifest files that the loader looks at, in its order, each once."""
    env = _environment(environment)
    override = env.get("VK_DRIVER_FILES", env.get("VK_ICD_FILENAMES"))
    if override is not None:
        return _unique(_split(override))
    home = env.get("HOME")

    def personal(variable: str, default: str) -> list[str]:
        value = env.get(variable)
        return _split(value) if value else [f"{home}/{default}"] if home is not None else []

    folders = [
        *personal("XDG_CONFIG_HOME", ".config"),
        *_split(env.get("XDG_CONFIG_DIRS") or "/etc/xdg"),
        # Distributions build the loader with SYSCONFDIR=/etc; its EXTRASYSCONFDIR, where that differs, is /etc too.
        _SYSCONFDIR,
        *personal("XDG_DATA_HOME", ".local/share"),
        *_split(env.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"),
    ]
    return _unique([*_split(env.get("VK_ADD_DRIVER_FILES", "")), *(f if f.endswith(".json") else f"{f}/{_RELATIVE}" for f in folders)])


def _split(value: str) -> list[str]:
    return [part for part in value.split(":") if part]


def _unique(paths: Iterable[str]) -> list[Path]:
    return list(dict.fromkeys(Path(p) for p in paths))


def files(environment: Mapping[str, str] | None = None) -> list[Path]:
    """Every manifest file that the loader would open, in its order, each once; a folder's files by name.

    A file that a variable names is listed even where it doesn't exist: that is then its fault.
    """
    by_real_path: dict[Path, Path] = {}
    for path in search_paths(environment):
        if path.name.endswith(".json"):
            candidates = [path]
        else:
            try:
                candidates = sorted(p for p in path.iterdir() if p.name.endswith(".json"))
            except OSError:
                continue  # not there or not readable: the loader passes over it, too
        for candidate in candidates:
            by_real_path.setdefault(Path(os.path.realpath(candidate)), candidate.absolute())
    env = _environment(environment)
    selected, disabled = env.get("VK_LOADER_DRIVERS_SELECT", ""), env.get("VK_LOADER_DRIVERS_DISABLE", "")

    def wanted(name: str) -> bool:
        chosen = matches(name, selected)
        return chosen or not (matches(name, disabled) or selected)

    return [path for path in by_real_path.values() if wanted(path.name)]


def matches(name: str, globs: str) -> bool:
    """Whether one of the loader's comma-separated globs (`a`, `a*`, `*a`, `*a*`, `*`) matches a manifest's file name.

    >>> matches("radeon_icd.x86_64.json", "nvidia*,*RADEON*"), matches("lvp_icd.json", "lvp")
    (True, False)
    """
    name = name.lower()
    for glob in filter(None, globs.lower().split(",")):
        if glob in _MATCH_ALL:
            return True
        body, starts, ends = glob.strip("*"), glob.startswith("*"), glob.endswith("*")
        if (starts or name.startswith(body)) and (ends or name.endswith(body)) and (body in name if starts or ends else name == body):
            return True
    return False


def short_name(path: Path) -> str:
    """The driver's name from its manifest's file name.

    >>> [short_name(Path(p)) for p in ("radeon_icd.x86_64.json", "nvidia_icd.json", "amd_icd64.json", "intel_hasvk_icd.json", "icd.json")]
    ['radeon', 'nvidia', 'amd', 'intel_hasvk', 'icd']
    """
    stem = _ARCH.sub("", path.name.removesuffix(".json"))
    name = re.sub(r"[_.-]icd(32|64)?$", "", stem) or stem
    return re.sub(r"[^\w.+-]", "_", name) or "driver"


def unique_name(name: str, taken: Iterable[str]) -> str:
    """`name`, or `name-2`, `name-3`, ... where it is taken.

    >>> unique_name("radeon", ["radeon", "radeon-2"])
    'radeon-3'
    """
    used, number, candidate = set(taken), 1, name
    while candidate in used:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def spec_of(path: Path, name: str | None = None, *, root: str | None = None) -> DriverSpec:
    """A driver from its manifest; a broken one carries its fault and remedy."""
    name = name or short_name(path)
    absolute = str(path.absolute())
    try:
        read(path)
    except ManifestFault as fault:
        return DriverSpec(name=name, icd=absolute, root=root, fault=fault.reason, remedy=fault.remedy)
    return DriverSpec(name=name, icd=absolute, root=root)


def for_this_machine(path: Path) -> bool:
    """Whether the manifest's library is for 64-bit processes, as far as the manifest and its name say."""
    if _ARCH_32.search(path.name):
        return False
    try:
        return read(path).arch != "32"
    except ManifestFault:
        return True


def system_drivers(environment: Mapping[str, str] | None = None, *, root: str | None = None) -> list[DriverSpec]:
    """The system's drivers in the loader's order, broken ones included, 32-bit ones left out; names are unique."""
    specs: list[DriverSpec] = []
    for path in files(environment):
        if for_this_machine(path):
            specs.append(spec_of(path, unique_name(short_name(path), (s.name for s in specs)), root=root))
    return specs
