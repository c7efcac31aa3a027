"""The embedded Mesa set: Debian's drivers, null-device shims and loader unpacked into the user's cache, one folder a suite.

A set is whole or absent: it is unpacked beside its place and renamed there.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from vkprobe.drivers import apt, clibrary
from vkprobe.drivers.clibrary import LIBRARIES
from vkprobe.drivers.manifests import short_name, spec_of
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import UsageError

DEFAULT_SUITE = "trixie-backports"
SUITES: dict[str, tuple[str, ...]] = {
    "trixie-backports": ("trixie", "trixie-backports"),
    "trixie": ("trixie",),
    "sid": ("sid",),
}
"""Suite -> the suites its packages come from, the preferred one last."""
PACKAGES = ("mesa-vulkan-drivers", "mesa-drm-shim", "libvulkan1")
LAYER_PACKAGES = ("vulkan-validationlayers",)
_STAMP = "set.json"


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where vkprobe keeps what it fetched: VKPROBE_CACHE, else XDG_CACHE_HOME/vkprobe, else ~/.cache/vkprobe."""
    env = os.environ if environment is None else environment
    if env.get("VKPROBE_CACHE"):
        return Path(env["VKPROBE_CACHE"]).absolute()
    if env.get("XDG_CACHE_HOME"):
        return Path(env["XDG_CACHE_HOME"]).absolute() / "vkprobe"
    home = env.get("HOME")
    if not home:  # cron jobs and containers start with none
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            raise UsageError("there is no home folder to keep drivers in: set VKPROBE_CACHE to a folder of yours") from None
    return Path(home) / ".cache/vkprobe"


def root(suite: str = DEFAULT_SUITE) -> Path:
    """The folder of a suite's driver set, fetched or not."""
    return cache_folder() / "drivers" / suite


def fetched(suite: str = DEFAULT_SUITE) -> bool:
    """Whether the suite's driver set is there, whole."""
    return (root(suite) / _STAMP).is_file()


def fetched_suites() -> list[str]:
    """The suites whose sets are there, the default one first."""
    return [suite for suite in SUITES if fetched(suite)]


def versions(suite: str = DEFAULT_SUITE) -> dict[str, str]:
    """Version of every package in a fetched set."""
    return msgspec.json.decode((root(suite) / _STAMP).read_bytes(), type=dict[str, str])


def prefix(suite: str) -> str:
    """How drivers of a suite's set are named: `embedded` or `embedded@SUITE`."""
    return "embedded" if suite == DEFAULT_SUITE else f"embedded@{suite}"


def drivers(suite: str = DEFAULT_SUITE) -> list[DriverSpec]:
    """The drivers of a fetched set, on its own loader and C library; empty where it isn't fetched."""
    if not fetched(suite):
        return []
    folder = str(root(suite))
    specs = [spec_of(path, f"{prefix(suite)}:{short_name(path)}", root=folder) for path in sorted((root(suite) / "icd").glob("*.json"))]
    remedy = f"run `vkprobe drivers fetch --suite {suite} --again`"  # a cache that was moved or thinned out
    return [msgspec.structs.replace(spec, remedy=remedy) if spec.fault else spec for spec in specs]


def layer_folder(suite: str = DEFAULT_SUITE) -> Path:
    """Where `drivers fetch --layers` puts layer manifests (VK_LAYER_PATH), fetched or not."""
    return cache_folder() / "layers" / suite / "layers"


def fetch(suite: str, progress: apt.Progress, *, again: bool = False) -> Path:
    """Unpack a suite's driver set and return its folder; one that is there is left alone unless `again`.

    Raises:
        UsageError: an unknown suite, a machine that can't unpack Debian packages, or a failed download.
    """
    return fetch_packages(root(suite), suite, PACKAGES, progress, again=again)


def fetch_layers(suite: str, progress: apt.Progress, *, again: bool = False) -> Path:
    """Unpack Vulkan's validation layer of a suite and return the folder to give as VK_LAYER_PATH; raises as `fetch` does."""
    fetch_packages(layer_folder(suite).parent, suite, LAYER_PACKAGES, progress, again=again)
    return layer_folder(suite)


def fetch_packages(target: Path, suite: str, packages: Sequence[str], progress: apt.Progress, *, again: bool = False) -> Path:
    """Unpack `packages` of a suite and all they need into `target`; safe against interruption and a second fetch at once.

    Raises:
        UsageError: as `fetch`.
    """
    if suite not in SUITES:
        raise UsageError(f"unknown suite {suite}: choose one of {', '.join(SUITES)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(target, progress):
            if (target / _STAMP).is_file() and not again:
                progress(f"{target} is already there (--again fetches it anew)")
                return target
            _replace(target, suite, packages, progress)
    except OSError as error:
        raise UsageError(f"{error.filename or target}: {error.strerror or error}; VKPROBE_CACHE names another folder") from None
    progress(f"unpacked into {target}")
    return target


@contextmanager
def _only_one(target: Path, progress: apt.Progress) -> Iterator[None]:
    """Hold the lock of `target`, and clear away what a killed fetch left beside it."""
    with open(target.parent / f".{target.name}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another fetch is under way: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in target.parent.glob(f".{target.name}.fetch-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _replace(target: Path, suite: str, packages: Sequence[str], progress: apt.Progress) -> None:
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.fetch-", dir=target.parent))
    try:
        new, old = work / "new", work / "old"
        new.mkdir()
        contents = apt.unpack(new, SUITES[suite], packages, progress)
        _write_manifests(new, target, "icd.d", "icd")
        _write_manifests(new, target, "explicit_layer.d", "layers")
        clibrary.link_fallback(new)
        (new / _STAMP).write_bytes(msgspec.json.encode(contents))
        if target.exists():
            target.rename(old)
        new.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_manifests(unpacked: Path, target: Path, source: str, folder: str) -> None:
    """Copy the set's manifests with absolute library paths: no dynamic linker's search finds the set's libraries by name."""
    (unpacked / folder).mkdir()
    for path in sorted((unpacked / "usr/share/vulkan" / source).glob("*.json")):
        manifest = json.loads(path.read_text())
        body = manifest.get("ICD") or manifest.get("layer") or {}
        if "library_path" in body:
            body["library_path"] = str(target / LIBRARIES / os.path.basename(body["library_path"]))
            (unpacked / folder / path.name).write_text(json.dumps(manifest, indent=1))
