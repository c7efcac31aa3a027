"""Build the drm-shim for Intel GPUs, which Debian does not package, from Debian's own Mesa source: `python -m tools.intel_shim OUT.so`.

Needs the C tools and headers named below (they are checked first); meson and its Python modules go into a folder of the
build's own. The result drives ANV 25.0 and newer: VKPROBE_INTEL_SHIM=OUT.so vkprobe caps --null anv:bmg
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from vkprobe.drivers import apt
from vkprobe.errors import UsageError

_SUITE = "trixie"  # Mesa 25.0: later sources can't be had once Debian has moved on, and its shim drives later drivers too
_PROGRAMS = {"gcc": "gcc", "g++": "g++", "bison": "bison", "flex": "flex", "pkg-config": "pkg-config", "dpkg-source": "dpkg-dev"}
_HEADERS = {"libdrm": "libdrm-dev", "zlib": "zlib1g-dev", "expat": "libexpat1-dev"}
_PYTHON = ("meson", "ninja", "mako", "pyyaml", "packaging", "setuptools")
_OFF = ("glx", "egl", "gbm", "gles1", "gles2", "llvm", "xmlconfig", "valgrind", "libunwind", "lmsensors", "shader-cache")
_OPTIONS = (
    "-Dtools=drm-shim,intel",
    "-Dopengl=false",
    "-Dbuildtype=release",
    *(f"-D{name}=" for name in ("vulkan-drivers", "gallium-drivers", "platforms", "video-codecs", "vulkan-layers")),
    *(f"-D{name}=disabled" for name in _OFF),
)
_TARGET = "src/intel/tools/libintel_noop_drm_shim.so"


def _missing() -> list[str]:
    """Debian packages that the build needs and this machine lacks."""
    lacking = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    if "pkg-config" not in lacking:
        lacking += [p for name, p in _HEADERS.items() if subprocess.run(["pkg-config", "--exists", name]).returncode]
    else:
        lacking += list(_HEADERS.values())
    return lacking


def _run(argv: list[str], **options: object) -> None:
    print("intel-shim:", " ".join(argv[:6]), flush=True)
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit("\n".join([f"intel-shim: {argv[0]} failed:", *(done.stdout + done.stderr).splitlines()[-15:]]))


def build(out: Path) -> None:
    """Build the shim and put it at `out`, whole or not at all.

    Raises:
        UsageError: something is missing on this machine, or the source can't be had.
    """
    lacking = _missing()
    if lacking:
        raise UsageError(f"intel-shim: first install {' '.join(lacking)} (apt-get install {' '.join(lacking)})")
    with tempfile.TemporaryDirectory(prefix="vkprobe-intel-shim-") as folder:
        work = Path(folder)
        source = apt.download_source(work, _SUITE, "mesa", lambda line: print("intel-shim:", line, flush=True))
        site = work / "python"
        _run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site), *_PYTHON])
        env = {**os.environ, "PYTHONPATH": str(site), "PATH": f"{site / 'bin'}:{os.environ['PATH']}"}
        _run([sys.executable, "-m", "mesonbuild.mesonmain", "setup", str(work / "build"), str(source), *_OPTIONS], env=env)
        _run(["ninja", "-C", str(work / "build"), _TARGET], env=env)
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(out.name + ".part")
        shutil.copy(work / "build" / _TARGET, partial)
        partial.replace(out)
    print(f"{out}\nuse it with: export VKPROBE_INTEL_SHIM={out}")


def main() -> None:
    """`python -m tools.intel_shim OUT.so`."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tools.intel_shim OUT.so")
    try:
        build(Path(sys.argv[1]))
    except UsageError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
