"""Which drivers a command works on: by name, by manifest, from vkprobe.toml, null devices, or the machine's own."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from vkprobe.drivers import embedded, loader, manifests, null
from vkprobe.drivers.config import Config, Entry, load
from vkprobe.drivers.probe import DriverOutcome, probe
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import NoDeviceError, UsageError


def listed() -> list[DriverSpec]:
    """Every driver there is to name: the system's in the loader's order, then those of each fetched set."""
    installed = manifests.system_drivers(root=loader.root_for_system_drivers())
    return [*installed, *(spec for suite in embedded.fetched_suites() for spec in embedded.drivers(suite))]


def resolve(
    drivers: Sequence[str] = (), nulls: Sequence[str] = (), *, config: Path | None = None, shim: str | None = None
) -> list[DriverSpec]:
    """The drivers to work on, in the order asked for, each once; without any, `defaults`.

    `drivers` are --driver's values, `nulls` --null's, `config` --drivers' file, `shim` --shim's path. A driver that is there but
    broken carries its fault; so does a manifest that doesn't exist, unless it is all that was asked for.

    Raises:
        UsageError: an unknown name, an unusable vkprobe.toml, or an only manifest that doesn't exist.
        NoDeviceError: nothing was asked for and this machine has no driver with a device.
    """
    if not drivers and not nulls:
        return [outcome.spec for outcome in defaults()]
    names = [name for text in nulls for name in null.parse(text)]
    file = load(config)
    specs = [_named(text, file, shim) for text in drivers]
    specs += [null.resolve(name, shim=_shim_for(name, names, shim)) for name in names]
    if len(drivers) == 1 and not nulls and _is_path(drivers[0]) and not Path(drivers[0]).expanduser().exists():
        raise UsageError(f"--driver {drivers[0]}: {specs[0].fault}; {specs[0].remedy}")
    return _distinct(specs)


def system() -> list[DriverOutcome]:
    """The outcome for each of the system's own drivers."""
    return probe(manifests.system_drivers(root=loader.root_for_system_drivers()))


def defaults() -> list[DriverOutcome]:
    """Every driver of the system that has a device, else the embedded lvp.

    Raises:
        NoDeviceError: there is neither.
    """
    outcomes = system()
    usable = [one for one in outcomes if one.state == "ok"]
    if usable:
        return usable
    software = probe([spec for spec in embedded.drivers() if spec.name == "embedded:lvp"])
    if software:
        return software
    seen = "; ".join(f"{one.spec.name}: {one.reason}" for one in outcomes) or "no driver is installed"
    raise NoDeviceError(f"no Vulkan driver here has a device ({seen}): run `vkprobe drivers fetch` for a software driver and null devices")


def _is_path(text: str) -> bool:
    return "/" in text or text.endswith(".json")


def _named(text: str, file: Config, shim: str | None) -> DriverSpec:
    entry = file.drivers.get(text)
    if entry is not None:
        return _configured(text, entry, file, shim)
    if _is_path(text):
        return manifests.spec_of(Path(text).expanduser(), root=loader.root_for_system_drivers())
    specs = listed()
    for spec in specs:
        if spec.name == text:
            return spec
    names = [*file.drivers, *(spec.name for spec in specs)]
    near = difflib.get_close_matches(text, names, n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    fetch = f" `vkprobe drivers fetch{_suite_of(text)}` unpacks the embedded drivers." if text.startswith("embedded") else ""
    there = f"known are {', '.join(names)}" if names else "none is installed"
    raise UsageError(f"unknown driver {text}: {there}.{meant}{fetch} The path of an ICD manifest does as well.")


def _suite_of(name: str) -> str:
    suite = name.partition(":")[0].partition("@")[2]
    return f" --suite {suite}" if suite in embedded.SUITES else ""


def _configured(name: str, entry: Entry, file: Config, shim: str | None) -> DriverSpec:
    where = f"{file.path}: drivers.{name}"
    if isinstance(entry.null, str):
        try:
            (parsed,) = null.parse(entry.null)
        except ValueError:
            raise UsageError(f"{where}: null = {entry.null!r} must name one device") from None
        shims = (str(file.locate(p)) for p in entry.preload if "/" in p and Path(p).name == null.FAMILIES[parsed.family].shim)
        own = next(shims, None)
        base = null.resolve(parsed, shim=shim or own, driver=_base(entry.icd, file, where) if entry.icd is not None else None)
    elif entry.icd is None:
        raise UsageError(f'{where} has neither icd nor null: give icd = "PATH of a manifest" or null = "radv:gfx1201"')
    else:
        base = _base(entry.icd, file, where)
    # A bare name is the dynamic linker's to find; it passes over a file that isn't there, and the driver would then run without it.
    preload = [str(file.locate(p)) if "/" in p else p for p in entry.preload]
    missing = next((p for p in preload if "/" in p and not Path(p).is_file()), None)
    fault = f"{where}: preload {missing} does not exist" if missing else None
    return msgspec.structs.replace(
        base,
        name=name,
        environment={**base.environment, **entry.variables()},
        preload=(*(p for p in preload if p not in base.preload), *base.preload),
        launcher=tuple(entry.launcher),
        null=base.null or bool(entry.null),
        fault=base.fault or fault,
        remedy=base.remedy or (f"correct it in {file.path}" if fault else None),
    )


def _base(icd: str, file: Config, where: str) -> DriverSpec:
    if _is_path(icd):
        return manifests.spec_of(file.locate(icd), root=loader.root_for_system_drivers())
    for spec in listed():
        if spec.name == icd:
            return spec
    raise UsageError(f"{where}: icd = {icd!r} is neither the path of a manifest nor a driver that `vkprobe drivers` lists")


def configured(config: Path | None) -> list[DriverSpec]:
    """The drivers of vkprobe.toml; raises UsageError as `resolve` does."""
    file = load(config)
    return [_configured(name, entry, file, None) for name, entry in file.drivers.items()]


def _shim_for(name: null.NullName, names: Sequence[null.NullName], shim: str | None) -> str | None:
    """The --shim that is meant for this family: its own by file name, or any where only one family is asked for (which may refuse it)."""
    if shim is None:
        return None
    file = Path(shim).name
    owners = [family for family, row in null.FAMILIES.items() if row.shim == file]
    asked = sorted({n.family for n in names})
    if set(owners) & set(asked):
        return shim if name.family in owners else None
    if len(asked) > 1:
        raise UsageError(f"--shim {shim} could be meant for {' or '.join(asked)}: give one family with it, or keep the library's own name")
    return shim


def _distinct(specs: Sequence[DriverSpec]) -> list[DriverSpec]:
    """Each driver once; different drivers that share a name get numbers."""
    kept: list[DriverSpec] = []
    for spec in specs:
        if spec not in kept:
            kept.append(msgspec.structs.replace(spec, name=manifests.unique_name(spec.name, (k.name for k in kept))))
    return kept
