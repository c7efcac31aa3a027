"""The pytest plugin: `pytest --vk-driver X` and the fixtures vk_driver, vk_device, vk_kernel and gpu_benchmark.

It is loaded by every pytest of its environment, so that all else of vkprobe is imported by the first test that uses a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from vkprobe.device_facts import DriverIdentity
    from vkprobe.drivers.spec import DriverSpec
    from vkprobe.pytest_support.host import Host
    from vkprobe.pytest_support.kernel import CellKernel, ShaderKernel
    from vkprobe.records import DeviceRecord


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("vkprobe", "Vulkan drivers (vkprobe)")
    group.addoption(
        "--vk-driver",
        action="append",
        default=[],
        metavar="X",
        help="Driver of the vk_* fixtures: a name that `vkprobe drivers` lists, an ICD manifest's path, a name from vkprobe.toml, or a "
        "null device (radv:gfx1201). May be repeated: tests then run once a driver. Default: the system's drivers that have a "
        "device, else embedded:lvp.",
    )
    group.addoption("--vk-device", metavar="N|TEXT", help="The driver's device N, or the first with TEXT in its name. Default: the first.")
    group.addoption("--vk-drivers", metavar="FILE.toml", help="Where --vk-driver's own names come from, in place of ./vkprobe.toml.")


class Choices(NamedTuple):
    """The drivers that tests run on, or why there is none."""

    specs: list[DriverSpec]
    reason: str = ""


_CHOICES: pytest.StashKey[Choices] = pytest.StashKey()


class VkDriver:
    """A driver under test.

    Attributes:
        spec: what its worker is started with.
        state, reason, remedy: as `vkprobe drivers` prints them: `ok`, `no-device`, `error`.
        devices: its device records.
    """

    def __init__(self, spec: DriverSpec, state: str, reason: str | None, remedy: str | None, devices: list[DeviceRecord]) -> None:
        self.spec, self.state, self.reason, self.remedy, self.devices = spec, state, reason, remedy, devices

    @property
    def name(self) -> str:
        """The driver's name for --vk-driver."""
        return self.spec.name

    @property
    def identity(self) -> DriverIdentity | None:
        """Name, version, build id of the driver itself; None where it has no device."""
        return self.devices[0].driver if self.devices else None

    def device_info(self, device: DeviceRecord) -> dict[str, Any]:
        """The driver and device that a number came from, for `extra_info`."""
        d, h = device.driver, device.hardware
        return {
            "device": device.device,
            "device_name": device.name,
            "hardware": f"{h.vendor_id:04x}:{h.device_id:04x}" + (f" {h.chip}" if h.chip else ""),
            "driver": d.name,
            "driver_id": d.id,
            "driver_info": d.info,
            "driver_version": d.version,
            "driver_build_id": d.build_id,
            "api": d.api,
            "icd": d.icd,
            "environment": dict(self.spec.environment),
        }

    def __repr__(self) -> str:
        return f"<vk_driver {self.spec.name}: {self.state}>"


def pytest_configure(config: pytest.Config) -> None:
    """Find the drivers that were asked for; an unknown one ends pytest before any test."""
    from vkprobe.pytest_support.benchmark import WithBenchmark, WithoutBenchmark

    there = any(config.pluginmanager.hasplugin(name) for name in ("benchmark", "pytest_benchmark.plugin"))  # by entry point, by -p
    config.pluginmanager.register(WithBenchmark() if there else WithoutBenchmark(), "vkprobe-benchmark")
    if config.getoption("--vk-driver"):
        config.stash[_CHOICES] = _asked(config)


def pytest_report_header(config: pytest.Config) -> str | None:
    """A line with the drivers that were asked for."""
    names = ", ".join(spec.name for spec in config.stash[_CHOICES].specs) if _CHOICES in config.stash else ""
    return f"vkprobe: {names}" if names else None


def _asked(config: pytest.Config) -> Choices:
    from vkprobe.drivers.null import FAMILIES
    from vkprobe.drivers.select import resolve
    from vkprobe.errors import VkprobeError

    names = config.getoption("--vk-driver")
    nulls = [name for name in names if name.partition(":")[0] in FAMILIES]
    file = config.getoption("--vk-drivers")
    try:
        return Choices(resolve([n for n in names if n not in nulls], nulls, config=Path(file) if file else None))
    except VkprobeError as error:
        raise pytest.UsageError(str(error).replace("--driver ", "--vk-driver ")) from None


def _choices(config: pytest.Config) -> Choices:
    """The drivers to test on; looked for once, when a test first needs one."""
    if _CHOICES not in config.stash:
        from vkprobe.drivers.select import defaults
        from vkprobe.errors import VkprobeError

        try:
            config.stash[_CHOICES] = Choices([outcome.spec for outcome in defaults()])
        except VkprobeError as error:
            config.stash[_CHOICES] = Choices([], str(error))
    return config.stash[_CHOICES]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of vk_driver run once a driver. Of a single one their names hold none, so that runs on two drivers compare by name."""
    if "vk_driver" not in metafunc.fixturenames:
        return
    specs = _choices(metafunc.config).specs
    if len(specs) > 1:
        metafunc.parametrize("vk_driver", specs, indirect=True, ids=[spec.name for spec in specs], scope="session")


@pytest.fixture(scope="session")
def vk_driver(request: pytest.FixtureRequest) -> VkDriver:
    """The driver under test: its DriverSpec, state, identity and devices. Skips where this machine has none."""
    specs, reason = _choices(request.config)
    if not specs:
        pytest.skip(reason)
    if len(specs) > 1 and not hasattr(request, "param"):
        pytest.fail("vk_driver was asked for while the test ran: with several drivers it must be among the test's arguments", pytrace=False)
    spec: DriverSpec = getattr(request, "param", specs[0])
    from vkprobe.facts import gather

    facts = gather([spec], "pytest")
    (driver,) = facts.drivers
    return VkDriver(spec, driver.state, driver.reason, driver.remedy, facts.devices)


@pytest.fixture(scope="session")
def vk_device(request: pytest.FixtureRequest, vk_driver: VkDriver) -> DeviceRecord:
    """The device under test, as records have it: facts, hardware, the driver's identity. Skips where the driver has none."""
    if vk_driver.state == "error":
        pytest.fail(f"driver {vk_driver.name} failed: {vk_driver.reason}" + _remedy(vk_driver), pytrace=False)
    if not vk_driver.devices:
        pytest.skip(f"driver {vk_driver.name} has no device: {vk_driver.reason}" + _remedy(vk_driver))
    wanted = request.config.getoption("--vk-device")
    for index, device in enumerate(vk_driver.devices):
        number = device.index
        if (wanted is None and index == 0) or (wanted is not None and (number == wanted or _within(wanted, device.name))):
            return device
    there = ", ".join(f"{d.device.rpartition('/')[2]} ({d.name})" for d in vk_driver.devices)
    pytest.fail(f"--vk-device {wanted}: driver {vk_driver.name} has no such device; there is {there}", pytrace=False)


def _within(wanted: str, name: str) -> bool:
    return not wanted.isdecimal() and wanted.lower() in name.lower()


def _remedy(driver: VkDriver) -> str:
    return f" -> {driver.remedy}" if driver.remedy else ""


@pytest.fixture(scope="session")
def vk_host(vk_driver: VkDriver, vk_device: DeviceRecord) -> Iterator[Host]:
    """The worker process behind vk_kernel; for the plugin's own fixtures."""
    from vkprobe.pytest_support.host import GpuClock, Host

    host = Host(vk_driver.spec, vk_device, GpuClock())
    yield host
    host.close()


@pytest.fixture
def vk_kernel(vk_host: Host) -> Iterator[Callable[..., ShaderKernel | CellKernel]]:
    """Makes kernels on the device under test.

    vk_kernel("x.spv", bindings=[a, b], groups=64, push=(n, 2.0), constants={0: 256}): a shader with storage buffers; or SPIR-V as bytes.
    vk_kernel(OP, type="q4_0", shape=(256, 32, 256), path="scalar-f32"): one of vkprobe's cells, verified.
    run() gives the results, gpu_time_s the time of the last dispatch, statistics what the driver's compiler reports.
    """
    from vkprobe.pytest_support.kernel import make_kernel

    kernels: list[ShaderKernel | CellKernel] = []

    def make(what: str | Path | bytes, **options: Any) -> ShaderKernel | CellKernel:
        __tracebackhide__ = True
        kernels.append(make_kernel(vk_host, what, **options))
        return kernels[-1]

    yield make
    for kernel in kernels:
        kernel.release()
