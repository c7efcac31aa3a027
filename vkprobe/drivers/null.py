"""Null devices: real drivers on a fake GPU. A shim library answers the kernel's part; pipelines compile, nothing executes.

One fake GPU per process: of stacked shims only the first is seen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from vkprobe.drivers import clibrary, embedded, loader, manifests
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import UsageError


class Family(Struct, frozen=True, kw_only=True):
    """A driver that has a shim.

    Attributes:
        shim: file name of the shim library.
        driver: the driver's short name, as `vkprobe drivers` lists it.
        variable: the environment variable that names the chip.
        pattern: what a chip's name looks like, with `form` in words.
        chips: chips that are known to work, for messages; the shim decides.
        shim_variable: names the shim where no package ships it; `shim_remedy` says where it comes from.
    """

    shim: str
    driver: str
    variable: str
    pattern: str
    form: str
    chips: tuple[str, ...]
    shim_variable: str | None = None
    shim_remedy: str = "`vkprobe drivers fetch` unpacks it with the drivers; Debian's package is mesa-drm-shim; --shim PATH names another"


FAMILIES: dict[str, Family] = {
    "radv": Family(
        shim="libamdgpu_noop_drm_shim.so",
        driver="radeon",
        variable="AMDGPU_GPU_ID",
        pattern=r"[a-z][a-z0-9_]*",
        form="a chip's name in lower case",
        chips=("vega10", "navi10", "navi21", "navi31", "navi33", "strix1", "gfx1201"),
    ),
    "nvk": Family(
        shim="libnouveau_noop_drm_shim.so",
        driver="nouveau",
        variable="NOUVEAU_CHIPSET",
        pattern=r"[0-9a-f]+",
        form="a chipset number in hexadecimal",
        chips=("134", "140", "162", "164", "172", "176"),
    ),
    "anv": Family(
        shim="libintel_noop_drm_shim.so",
        driver="intel",
        variable="INTEL_STUB_GPU_PLATFORM",
        pattern=r"[a-z][a-z0-9]*",
        form="a platform's name in lower case",
        chips=("skl", "tgl", "dg2", "mtl", "lnl", "bmg", "arl"),
        shim_variable="VKPROBE_INTEL_SHIM",
        shim_remedy="build it with `make intel-shim` (no package ships it), then give its path with --shim or in VKPROBE_INTEL_SHIM",
    ),
    "turnip": Family(
        shim="libfreedreno_noop_drm_shim.so",
        driver="freedreno",
        variable="FD_GPU_ID",
        pattern=r"[0-9]+",
        form="a GPU's number",
        chips=("630", "660", "740", "750", "830"),
    ),
}
"""Families by the name that `--null` takes."""


class NullName(Struct, frozen=True, kw_only=True):
    """`FAMILY:CHIP[@SUITE]`, parsed."""

    family: str
    chip: str
    suite: str | None = None

    def __str__(self) -> str:
        return f"{self.family}:{self.chip}" + (f"@{self.suite}" if self.suite else "")


def parse(text: str) -> list[NullName]:
    """The null devices that one `--null` argument names.

    >>> [str(n) for n in parse("radv:navi21,navi31@trixie,nvk:172")]
    ['radv:navi21', 'radv:navi31@trixie', 'nvk:172']

    Raises:
        UsageError: an unknown family or suite, no chip, or something that can't be a chip's name of that family.
    """
    names: list[NullName] = []
    family = ""
    for part in text.split(","):
        before, colon, rest = part.strip().partition(":")
        if colon:
            family = before
        chip, _, suite = (rest if colon else before).partition("@")
        if not chip or family not in FAMILIES:
            raise UsageError(f"--null {text}: write FAMILY:CHIP[@SUITE] with a family of {', '.join(FAMILIES)} (radv:gfx1201, nvk:172)")
        row = FAMILIES[family]
        if not re.fullmatch(row.pattern, chip):
            raise UsageError(
                f"--null {family}:{chip}: {chip!r} can't be a chip of {family}, which takes {row.form}: {', '.join(row.chips)}"
            )
        if suite and suite not in embedded.SUITES:
            raise UsageError(f"--null {part.strip()}: unknown suite {suite}: choose one of {', '.join(embedded.SUITES)}")
        names.append(NullName(family=family, chip=chip, suite=suite or None))
    return names


def resolve(
    name: NullName, *, shim: str | None = None, environment: Mapping[str, str] | None = None, driver: DriverSpec | None = None
) -> DriverSpec:
    """The null device of `driver`, else of the embedded set where it is fetched, else of the system; what is missing becomes its fault."""
    env = os.environ if environment is None else environment
    row = FAMILIES[name.family]
    base = driver or _driver(row, name.suite)
    shim_path = _shim(row, base, shim, env)
    fault = remedy = None
    if base is None:
        where = f"the embedded set {name.suite}" if name.suite else "the embedded set or among the system's drivers"
        fault, remedy = f"null device {name}: no {row.driver} driver in {where}", _fetch_command(name.suite)
    elif base.fault:
        fault, remedy = f"null device {name}: {base.fault}", base.remedy
    elif shim_path is None or not shim_path.is_file():
        fault, remedy = f"null device {name}: its shim {shim_path or row.shim} is not there", row.shim_remedy
    elif _named_shim(row, shim, env) and (mistaken := _mistaken(shim_path, row)):
        fault, remedy = f"null device {name}: {shim_path} {mistaken}", f"give {row.shim}: {row.shim_remedy}"
    return DriverSpec(
        name=str(name),
        icd=base.icd if base else None,
        environment={row.variable: name.chip},
        preload=(str(shim_path),) if shim_path else (),
        null=True,
        root=base.root if base else None,
        fault=fault,
        remedy=remedy,
    )


def _fetch_command(suite: str | None) -> str:
    return "run `vkprobe drivers fetch" + (f" --suite {suite}`" if suite and suite != embedded.DEFAULT_SUITE else "`")


def _driver(row: Family, suite: str | None) -> DriverSpec | None:
    wanted = suite or embedded.DEFAULT_SUITE
    for spec in embedded.drivers(wanted):
        if spec.name == f"{embedded.prefix(wanted)}:{row.driver}":
            return spec
    if suite:
        return None
    return next((spec for spec in manifests.system_drivers(root=loader.root_for_system_drivers()) if spec.name == row.driver), None)


def _shim(row: Family, base: DriverSpec | None, given: str | None, env: Mapping[str, str]) -> Path | None:
    """The shim that was named, else the driver set's, else the system's; None where there is none."""
    named = _named_shim(row, given, env)
    if named:
        return Path(named).expanduser().absolute()
    folders = [Path(base.root) / clibrary.LIBRARIES] if base and base.root else [Path(f) for f in clibrary.HOST_FOLDERS]
    folders += [embedded.root(suite) / clibrary.LIBRARIES for suite in embedded.fetched_suites()]  # for a driver of one's own
    return next((folder / row.shim for folder in folders if (folder / row.shim).is_file()), None)


def _named_shim(row: Family, given: str | None, env: Mapping[str, str]) -> str | None:
    """The shim that the user named, by option or variable."""
    return given or (env.get(row.shim_variable) if row.shim_variable else None)


def _mistaken(shim: Path, row: Family) -> str | None:
    """Why a library that was named as a family's shim isn't one; None where it is.

    Each shim asks for its chip in a variable of its own, whose name is in its text. Without this check the dynamic linker
    passes over what is no library, and another family's shim is a GPU that the driver does not see: "no device", without a reason.
    """
    try:
        content = shim.read_bytes()
    except OSError as error:
        return f"can't be read: {error.strerror}"
    if row.variable.encode() in content:
        return None
    other = next((name for name, family in FAMILIES.items() if family.variable.encode() in content), None)
    if other:
        return f"is the shim of {other}"
    return "is no drm-shim" if content.startswith(b"\x7fELF") else "is no shared library"


def unknown_chip(spec: DriverSpec, output: str = "") -> tuple[str, str]:
    """Reason and remedy for a null device on which no device came up; `output` is what its shim printed."""
    row = next((row for row in FAMILIES.values() if row.variable in spec.environment), None)
    if row is None:
        return f"null device {spec.name}: its shim shows the driver no GPU that it knows", "name the chip in its shim's own variable (env)"
    chip = spec.environment[row.variable]
    listed = re.search(r"supports?:? ([\w, ]+)", output)
    remedy = f"this shim supports {listed[1].strip()}" if listed else f"chips known to work are {', '.join(row.chips)}"
    said = next((line.strip() for line in output.splitlines() if chip in line and "rror" in line), "")
    reason = f"null device {spec.name}: the driver or its shim does not know the chip {chip}"
    return reason + (f" ({said})" if said else ""), remedy
