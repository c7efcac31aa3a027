"""Device facts, complete and unjudged, in the specification's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from vkprobe.identity import chip, conformance, device_type, driver_version, pci_address, version_string
from vkprobe.protocol import Enumerate, Facts
from vkprobe.worker import coopmat, identity
from vkprobe.worker.failure import Failure
from vkprobe.worker.vk.core import VkError
from vkprobe.worker.vk.instance import instance
from vkprobe.worker.vk.physical import Ask, PhysicalDevice

Progress = Callable[[dict[str, Any]], None]


def _devices(progress: Progress) -> Iterator[PhysicalDevice]:
    progress({"query": "vkCreateInstance"})
    vulkan = instance()
    progress({"query": "vkEnumeratePhysicalDevices"})
    for handle in vulkan.physical_devices():
        progress({"query": "vkGetPhysicalDeviceProperties"})
        yield PhysicalDevice(vulkan, handle)


def enumerate_devices(request: Enumerate, progress: Progress) -> list[dict[str, Any]]:
    """The driver's devices, in the loader's order: index, name, type, api, driver_id, vendor_id, device_id.

    Raises:
        VkError: the instance could not be made, or its devices not be listed.
    """
    devices = []
    for index, device in enumerate(_devices(progress)):
        driver = _driver_properties(device, progress)
        devices.append(
            {
                "index": index,
                "name": device.core["deviceName"].strip(),
                "type": device_type(int(device.core["deviceType"])),
                "api": version_string(device.api),
                "driver_id": driver.get("driverID"),
                "vendor_id": device.core["vendorID"],
                "device_id": device.core["deviceID"],
            }
        )
    return devices


def facts(request: Facts, progress: Progress) -> list[dict[str, Any]]:
    """Facts of the driver's devices, or of the one at `index`: the fields of records.DeviceRecord, with `index` for `device`.

    `notes` besides: a sentence for each query that the driver answered with an error.
    Each query is announced by `progress({"query": name})` before it is made, so that whoever sees the worker die knows
    which one killed it; a name in `skip` is left out, and its answer is absent or null.

    Raises:
        VkError: the instance could not be made, its devices not be listed, or their extensions not be read.
        Failure: there is no device at `index` (`no-such-device`).
    """

    def ask(query: str) -> bool:
        progress({"query": query})
        return query not in request.skip

    devices = list(enumerate(_devices(progress)))
    if request.index is not None:
        devices = devices[request.index : request.index + 1]
        if not devices:
            raise Failure("no-such-device", f"the driver has no device {request.index}")
    return [_facts_of(number, device, ask) for number, device in devices]


def _facts_of(index: int, device: PhysicalDevice, ask: Ask) -> dict[str, Any]:
    ask("vkEnumerateDeviceExtensionProperties")
    extensions = device.extensions
    features = device.features(ask)
    properties = device.properties(ask)
    mapped = identity.mapped_files()
    pci = pci_address(properties)
    notes: list[str] = []
    return {
        "index": index,
        "name": device.core["deviceName"].strip(),
        "type": device_type(int(device.core["deviceType"])),
        "driver": _driver(device, properties, mapped, pci),
        "hardware": {
            "vendor_id": device.core["vendorID"],
            "device_id": device.core["deviceID"],
            "pci": pci,
            "chip": chip(device.core),
        },
        "extensions": extensions,
        "features": features,
        "properties": properties,
        "coopmat": {
            "khr": _answer(notes, ask, coopmat.KHR_QUERY, lambda: coopmat.khr_tuples(device)),
            "nv_flexible": _answer(notes, ask, coopmat.FLEXIBLE_QUERY, lambda: coopmat.flexible_tuples(device)),
            "ext": _answer(notes, ask, coopmat.EXT_QUERY, lambda: coopmat.ext_tuples(device, features, properties)),
            "cooperative_vector": _answer(notes, ask, coopmat.VECTOR_QUERY, lambda: coopmat.vector_combinations(device)),
        },
        "queues": device.queues() if ask("vkGetPhysicalDeviceQueueFamilyProperties") else None,
        "heaps": device.heaps() if ask("vkGetPhysicalDeviceMemoryProperties") else None,
        "notes": notes,
    }


def _answer(notes: list[str], ask: Ask, query: str, rows: Callable[[], list[dict[str, Any]] | None]) -> list[dict[str, Any]] | None:
    if not ask(query):
        return None
    try:
        return rows()
    except VkError as error:
        # The device's other facts still count; this answer is unknown, and a note tells the user why.
        notes.append(error.reason)
        return None


def _driver_properties(device: PhysicalDevice, progress: Progress) -> dict[str, Any]:
    def only(query: str) -> bool:
        if query != "VkPhysicalDeviceDriverProperties":
            return False
        progress({"query": query})
        return True

    return device.properties(only).get("VkPhysicalDeviceDriverProperties", {})


def _driver(device: PhysicalDevice, properties: dict[str, dict[str, Any]], mapped: list[str], pci: str | None) -> dict[str, Any]:
    said = properties.get("VkPhysicalDeviceDriverProperties", {})
    driver_id = said.get("driverID")
    icd = identity.manifest()
    library = identity.driver_library(icd, mapped)
    return {
        "name": said.get("driverName"),
        "id": driver_id if driver_id is None else str(driver_id),
        "info": said.get("driverInfo"),
        "version": driver_version(device.core["driverVersion"], device.core["vendorID"], driver_id),
        "icd": icd,
        "build_id": identity.build_id(library) if library else None,
        "api": version_string(device.api),
        "conformance": conformance(said.get("conformanceVersion")),
        "kernel_module": None if identity.shimmed(mapped) else identity.kernel_module(properties, pci),
    }
