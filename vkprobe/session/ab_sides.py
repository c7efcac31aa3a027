"""The two sides of an A/B: drivers with distinct names, and the device that both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from vkprobe.drivers.manifests import unique_name
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import DriverError, NoDeviceError, UsageError
from vkprobe.facts import Gathered
from vkprobe.records import DeviceRecord
from vkprobe.session.ab import Contestant


def varied(spec: DriverSpec, variables: Mapping[str, str]) -> DriverSpec:
    """The driver with further variables, which its name shows: `embedded:lvp+LP_NUM_THREADS=1`."""
    if not variables:
        return spec
    suffix = "".join(f"+{name}={value}" for name, value in variables.items())
    return msgspec.structs.replace(spec, name=spec.name + suffix, environment={**spec.environment, **variables})


def distinct(a: DriverSpec, b: DriverSpec) -> tuple[DriverSpec, DriverSpec]:
    """Both, B renamed where it has A's name: it distinguishes their records."""
    return a, msgspec.structs.replace(b, name=unique_name(b.name, [a.name]))


def contestants(facts: Gathered, sides: tuple[DriverSpec, DriverSpec]) -> tuple[Contestant, Contestant]:
    """The device that both drivers have.

    Raises:
        DriverError: a side's driver failed.
        NoDeviceError: a side's driver has no device.
        UsageError: they have no device in common, or several; or only one of the two executes what it is given.
    """
    left, right = (_devices(facts, spec, option) for spec, option in zip(sides, ("--a", "--b"), strict=True))
    pairs = [(a, b) for a in left for b in right if _same(a, b)]
    if not pairs:
        there = "; ".join(f"{option} has {_list(devices)}" for option, devices in (("--a", left), ("--b", right)))
        raise UsageError(f"the two drivers have no device in common: {there}. Both must drive the same hardware (vendor, device id, chip)")
    if len(pairs) > 1:
        raise UsageError(f"the two drivers have {len(pairs)} devices in common: choose one with --device; there is {_list(left)}")
    ((a, b),) = pairs
    if a.null != b.null:
        null, real = (a, b) if a.null else (b, a)
        raise UsageError(f"{null.device} is a null device, which executes nothing, and {real.device} is none: both must be, or neither")
    return Contestant(spec=sides[0], device=a), Contestant(spec=sides[1], device=b)


def _devices(facts: Gathered, spec: DriverSpec, option: str) -> list[DeviceRecord]:
    devices = [device for device in facts.devices if device.driver_name == spec.name]
    if devices:
        return devices
    (driver,) = (driver for driver in facts.drivers if driver.spec.name == spec.name)
    if driver.state == "ok":
        raise UsageError(f"--device: {option} {spec.name} has no such device")
    why = f"{option} {spec.name}: {driver.reason}" + (f"\n  -> {driver.remedy}" if driver.remedy else "")
    raise DriverError(why) if driver.state == "error" else NoDeviceError(why)


def _same(a: DeviceRecord, b: DeviceRecord) -> bool:
    """Whether they are one device: the same chip, and in the same place where both report one."""
    one, other = a.hardware, b.hardware
    apart = one.pci is not None and other.pci is not None and one.pci != other.pci
    return not apart and (one.vendor_id, one.device_id, one.chip) == (other.vendor_id, other.device_id, other.chip)


def _list(devices: Sequence[DeviceRecord]) -> str:
    return ", ".join(
        f"{device.device} ({device.name}, {device.hardware.vendor_id:#x}:{device.hardware.device_id:#x})" for device in devices
    )
