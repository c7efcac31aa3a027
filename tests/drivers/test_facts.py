"""Facts of real drivers: lavapipe and null devices of the embedded set."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vkprobe.drivers import embedded
from vkprobe.drivers.launch import Worker
from vkprobe.drivers.select import resolve
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerFailed
from vkprobe.facts import gather
from vkprobe.protocol import Enumerate, Facts
from vkprobe.records import DeviceRecord, encode
from vkprobe.results.provenance import device_record

COOPMAT2 = "VkPhysicalDeviceCooperativeMatrix2FeaturesNV"
NULLS = ("nvk:172", "radv:gfx1201", "turnip:750")
INTEL = "anv:bmg"


def _spec(name: str) -> DriverSpec:
    if not embedded.fetched():
        pytest.skip("needs the embedded drivers: vkprobe drivers fetch")
    if name == INTEL and not os.environ.get("VKPROBE_INTEL_SHIM"):
        pytest.skip("needs Intel's shim: make intel-shim, then VKPROBE_INTEL_SHIM=PATH make test")
    (spec,) = resolve([name]) if name.startswith("embedded") else resolve((), [name])
    return spec


def _device(name: str) -> DeviceRecord:
    spec = _spec(name)
    with Worker(spec) as worker:
        (reply,) = worker.request(Facts(), timeout=300)
    return device_record("run", spec, reply)


@pytest.fixture(scope="module")
def lavapipe() -> DeviceRecord:
    """lavapipe's facts."""
    return _device("embedded:lvp")


def test_lavapipe_has_four_tuples_and_four_of_coopmat2s_features(lavapipe: DeviceRecord) -> None:
    """Four 8x8x8 tuples, flexible dimensions, and coopmat2 without workgroup scope, tensor addressing, block loads."""
    khr = lavapipe.coopmat.khr or []
    assert {(t.m, t.n, t.k) for t in khr} == {(8, 8, 8)}
    assert sorted((t.a, t.result) for t in khr) == [("f16", "f16"), ("f16", "f32"), ("s8", "s32"), ("u8", "u32")]
    on = {name for name, value in lavapipe.features[COOPMAT2].items() if value is True}
    assert len(on) == 4
    assert "cooperativeMatrixWorkgroupScope" not in on
    assert [f.m_granularity for f in lavapipe.coopmat.nv_flexible or []] == [8, 8, 8, 8]
    assert lavapipe.coopmat.ext == []


def test_nvk_ampere_has_18_tuples() -> None:
    """NVK's Ampere null device: 18 KHR tuples, saturating ones among them, and no coopmat2."""
    device = _device("nvk:172")
    khr = device.coopmat.khr or []
    assert len(khr) == 18
    assert ("16x8x16", "f16", "f32") in {(f"{t.m}x{t.n}x{t.k}", t.a, t.c) for t in khr}
    assert sum(t.saturating for t in khr) == 4
    assert device.null
    assert device.hardware.chip == "172"
    assert COOPMAT2 not in device.features


def test_radv_gfx1201_has_20_tuples_with_bf16_and_fp8() -> None:
    """RADV's RDNA 4 null device: bf16, e4m3 and e5m2 beside f16 and int8."""
    khr = _device("radv:gfx1201").coopmat.khr or []
    assert len(khr) == 20
    assert {t.a for t in khr} == {"f16", "bf16", "e4m3", "e5m2", "s8", "u8"}


def test_anv_battlemage_has_one_of_coopmat2s_features_and_nothing_flexible() -> None:
    """ANV: f16 8x16x16 tuples, per-element operations only, and an empty flexible list that is not null."""
    device = _device(INTEL)
    assert ("f16", "f32", 8, 16, 16) in {(t.a, t.c, t.m, t.n, t.k) for t in device.coopmat.khr or []}
    assert {name for name, value in device.features[COOPMAT2].items() if value is True} == {"cooperativeMatrixPerElementOperations"}
    assert device.coopmat.nv_flexible == []


def test_facts_are_complete(lavapipe: DeviceRecord) -> None:
    """Core and extension structs are there under their canonical names, limits nested, pointer members as lists."""
    assert lavapipe.extensions["VK_KHR_cooperative_matrix"] >= 1
    assert lavapipe.features["VkPhysicalDeviceFeatures"]["robustBufferAccess"] is True
    assert {"VkPhysicalDeviceVulkan11Features", "VkPhysicalDeviceVulkan14Features"} <= set(lavapipe.features)
    limits = lavapipe.properties["VkPhysicalDeviceProperties"]["limits"]
    assert limits["maxComputeSharedMemorySize"] == 32768
    assert len(limits["maxComputeWorkGroupCount"]) == 3
    layouts = lavapipe.properties["VkPhysicalDeviceHostImageCopyProperties"]
    assert len(layouts["pCopySrcLayouts"]) == layouts["copySrcLayoutCount"] > 0
    assert re.fullmatch("[0-9a-f]{32}", lavapipe.properties["VkPhysicalDeviceIDProperties"]["deviceUUID"])
    assert lavapipe.queues
    assert lavapipe.queues[0].timestamp_bits == 64
    assert "COMPUTE" in lavapipe.queues[0].flags


def test_structs_that_say_the_same_agree(lavapipe: DeviceRecord) -> None:
    """A core struct and the struct it took over hold the same values: no member sits at a wrong offset."""
    for core, part in (("Vulkan11", "16BitStorage"), ("Vulkan12", "ShaderFloat16Int8"), ("Vulkan13", "SubgroupSizeControl")):
        core_members = lavapipe.features[f"VkPhysicalDevice{core}Features"]
        for member, value in lavapipe.features[f"VkPhysicalDevice{part}Features"].items():
            assert core_members[member] == value, member
    for member, value in lavapipe.properties["VkPhysicalDeviceMaintenance6Properties"].items():
        assert lavapipe.properties["VkPhysicalDeviceVulkan14Properties"][member] == value, member


def test_the_driver_is_named(lavapipe: DeviceRecord) -> None:
    """Name, id, version, API, conformance, and the build id of the very library that the manifest names."""
    driver = lavapipe.driver
    assert (driver.name, driver.id) == ("llvmpipe", "VK_DRIVER_ID_MESA_LLVMPIPE")
    assert driver.version is not None
    assert driver.info is not None
    assert driver.info.startswith(f"Mesa {driver.version}")
    assert re.fullmatch(r"1\.\d+\.\d+", driver.api or "")
    assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+", driver.conformance or "")
    assert re.fullmatch("[0-9a-f]{40}", driver.build_id or "")
    assert driver.kernel_module is None


@pytest.mark.parametrize("name", ["embedded:lvp", *NULLS, INTEL])
def test_facts_make_records_that_survive_the_file(name: str) -> None:
    """Every float is finite or a word, and decoding gives the record back."""

    def floats(value: Any) -> Iterator[float]:
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from floats(item)
        if isinstance(value, float):
            yield value

    device = _device(name)
    assert all(math.isfinite(f) for f in floats(device.properties))
    assert msgspec.json.decode(encode(device), type=DeviceRecord) == device


def test_a_query_can_be_left_out_and_is_announced() -> None:
    """Answers to queries in `skip` are absent or null, the rest whole; every query is announced before it is made."""
    skip = ["VkPhysicalDeviceVulkan12Features", "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"]
    announced: list[str] = []
    with Worker(_spec("embedded:lvp")) as worker:
        (reply,) = worker.request(Facts(skip=skip), timeout=300, progress=lambda p: announced.append(p["query"]))
    assert "VkPhysicalDeviceVulkan12Features" not in reply["features"]
    assert reply["coopmat"]["khr"] is None
    assert len(reply["coopmat"]["nv_flexible"]) == 4
    core = {"VkPhysicalDeviceProperties"}  # comes with vkGetPhysicalDeviceProperties
    assert {*reply["features"], *reply["properties"], *skip} - core <= set(announced)


def _old_nvk() -> DriverSpec:
    """NVK made to report API 1.0."""
    spec = _spec("nvk:172")
    return msgspec.structs.replace(spec, environment={**spec.environment, "MESA_VK_VERSION_OVERRIDE": "1.0"})


def test_a_device_of_api_1_0_is_asked_through_the_khr_extension() -> None:
    """Structs and tuples of extensions are reported; structs of later versions aren't queried."""
    spec = _old_nvk()
    with Worker(spec) as worker:
        (reply,) = worker.request(Facts(), timeout=300)
    assert reply["driver"]["api"].startswith("1.0.")
    assert reply["features"]["VkPhysicalDeviceCooperativeMatrixFeaturesKHR"]["cooperativeMatrix"] is True
    assert reply["features"]["VkPhysicalDeviceShaderFloat16Int8Features"]["shaderFloat16"] is True
    assert len(reply["coopmat"]["khr"]) == 18
    assert not {"VkPhysicalDeviceVulkan11Features", "VkPhysicalDeviceVulkan14Features"} & set(reply["features"])
    assert "VkPhysicalDeviceSubgroupProperties" not in reply["properties"]


def test_a_device_that_is_not_there_is_a_sentence() -> None:
    """Asking for device 7 of a driver with one fails in words; the worker lives on."""
    with Worker(_spec("embedded:lvp")) as worker:
        with pytest.raises(WorkerFailed, match="no device 7"):
            worker.request(Facts(index=7), timeout=300)
        (only,) = worker.request(Enumerate(), timeout=300)
    assert (only["index"], only["type"], only["driver_id"]) == (0, "cpu", "VK_DRIVER_ID_MESA_LLVMPIPE")


def test_drivers_that_fail_leave_the_good_ones_whole() -> None:
    """Facts of a good driver between one that is faulty and a chip that no shim knows."""
    good, wrong_chip = _spec("embedded:lvp"), _spec("radv:nosuchchip")
    faulty = msgspec.structs.replace(good, name="faulty", fault="its manifest is not JSON")
    gathered = gather([faulty, good, wrong_chip], "run")
    assert [f.state for f in gathered.drivers] == ["error", "ok", "error"]
    assert [d.device for d in gathered.devices] == ["embedded:lvp/0"]


def test_the_caps_verb_prints_records_and_nothing_else() -> None:
    """`caps --json`: run, driver and device records on stdout, exit status 4 where a driver that was asked for fails."""
    _spec("embedded:lvp")
    command = [sys.executable, "-m", "vkprobe", "caps", "--json", "--driver", "embedded:lvp", "--driver", "/nowhere/absent.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    kinds = [json.loads(line)["kind"] for line in done.stdout.splitlines()]
    assert kinds == ["run", "driver", "driver", "device"]
    assert done.returncode == 4
    assert "absent" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def layers() -> Path:
    """The folder of the validation layer's manifest."""
    folder = embedded.layer_folder()
    if not (folder / "VkLayer_khronos_validation.json").is_file():
        pytest.skip("needs the validation layer: vkprobe drivers fetch --layers")
    return folder


def _complaints(spec: DriverSpec, layers: Path, log: Path) -> list[str]:
    """The validation layer's complaints about asking for facts, but for structs newer than the layer, which it can't judge."""
    environment = {
        "VK_LAYER_PATH": str(layers),
        "VK_INSTANCE_LAYERS": "VK_LAYER_KHRONOS_validation",
        "VK_KHRONOS_VALIDATION_DEBUG_ACTION": "VK_DBG_LAYER_ACTION_LOG_MSG",
        "VK_KHRONOS_VALIDATION_LOG_FILENAME": str(log),
        "VK_KHRONOS_VALIDATION_REPORT_FLAGS": "error,warn",
        "VK_KHRONOS_VALIDATION_ENABLE_MESSAGE_LIMIT": "false",
    }
    with Worker(spec, environment) as worker:
        worker.request(Facts(), timeout=300)
        assert "VkLayer_khronos_validation" in Path(f"/proc/{worker.pid}/maps").read_text(), "the layer was not loaded"
    messages = re.split(r"^(?=Validation )", log.read_text() if log.exists() else "", flags=re.M)
    return [m for m in messages if m.strip() and "unknown VkStructureType" not in m]


@pytest.mark.parametrize("name", ["embedded:lvp", *NULLS, INTEL])
def test_the_validation_layer_has_nothing_to_say(name: str, layers: Path, tmp_path: Path) -> None:
    """Every query is allowed by the device's version and extensions."""
    assert _complaints(_spec(name), layers, tmp_path / "log") == []


def test_the_validation_layer_has_nothing_to_say_of_api_1_0(layers: Path, tmp_path: Path) -> None:
    """The layer reports no fault either when the device is queried through the KHR extension."""
    assert _complaints(_old_nvk(), layers, tmp_path / "log") == []
