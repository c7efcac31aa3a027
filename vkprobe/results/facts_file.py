"""A device record made from another tool's file; facts that it lacks stay unknown."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from vkprobe.device_facts import Coopmat, DriverIdentity, Hardware, Heap, Queue
from vkprobe.errors import UsageError
from vkprobe.identity import chip, conformance, device_type, driver_version, pci_address, version_string
from vkprobe.records import DeviceRecord
from vkprobe.results.document import Node

_CORE = "VkPhysicalDeviceProperties"
_REQUIRED = {"deviceName": str, "vendorID": int, "deviceID": int, "deviceType": int, "apiVersion": int, "driverVersion": int}


class FileFacts(Struct, frozen=True, kw_only=True):
    """A file's facts of one device, values as records carry them; `queues` and `heaps` are None where it lacks them."""

    extensions: dict[str, int]
    features: dict[str, dict[str, Any]]
    properties: dict[str, dict[str, Any]]
    queues: list[Queue] | None
    heaps: list[Heap] | None


def record(facts: FileFacts, root: Node, *, run: str, device: str) -> DeviceRecord:
    """The device's record in run `run`, under the id `device`; `root` is for messages.

    Raises:
        UsageError: the file does not say which device it is about.
    """
    core = facts.properties.get(_CORE, {})
    missing = [name for name, kind in _REQUIRED.items() if not isinstance(core.get(name), kind)]
    if missing:
        raise UsageError(
            f"{root.file}: does not say which device it is about: it lacks {_CORE}.{missing[0]}. "
            "A device's whole facts are needed; a profile of requirements or an extract does not do"
        )
    driver = facts.properties.get("VkPhysicalDeviceDriverProperties") or facts.properties.get("VkPhysicalDeviceVulkan12Properties") or {}
    driver_id = driver.get("driverID")
    return DeviceRecord(
        run=run,
        device=device,
        name=core["deviceName"].strip(),
        type=device_type(core["deviceType"]),
        null=False,
        driver=DriverIdentity(
            name=driver.get("driverName"),
            id=None if driver_id is None else str(driver_id),
            info=driver.get("driverInfo"),
            version=driver_version(core["driverVersion"], core["vendorID"], None if driver_id is None else str(driver_id)),
            icd=None,
            build_id=None,
            api=version_string(core["apiVersion"]),
            conformance=conformance(driver.get("conformanceVersion")),
            kernel_module=None,
        ),
        hardware=Hardware(vendor_id=core["vendorID"], device_id=core["deviceID"], pci=pci_address(facts.properties), chip=chip(core)),
        extensions=facts.extensions,
        features=facts.features,
        properties=facts.properties,
        coopmat=Coopmat(khr=None, nv_flexible=None, ext=None),
        queues=facts.queues or None,
        heaps=facts.heaps,
    )
