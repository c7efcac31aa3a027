"""Devices read from vulkaninfo, gpuinfo.org and records: the facts in each, what stays unknown, and bad files."""

from __future__ import annotations

import copy
import json
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.pure.gpuinfo_report import report
from tests.pure.recorded_devices import RECORDED, recorded
from vkprobe.errors import UsageError
from vkprobe.records import DeviceRecord, encode
from vkprobe.report import caps
from vkprobe.report.caps_diff import difference
from vkprobe.requirements import all_requirements, evaluate
from vkprobe.results.devices import devices_from, devices_from_all
from vkprobe.results.profile import device_profile, device_sidecar
from vkprobe.results.store import read_records

H200 = RECORDED / "vulkaninfo-nvidia-h200-580.159.04.json"
LIVE = RECORDED / "caps-nvidia-h200.jsonl"
_ROUNDED = {"pointSizeRange", "primitiveOverestimationSize"}  # vulkaninfo prints six digits
_OWN = {"deviceUUID"}  # another card of the kind


def profile(**blocks: Any) -> dict[str, Any]:
    """The smallest file of a device: its core properties, and other blocks."""
    core = {"deviceName": "X", "vendorID": 1, "deviceID": 2, "deviceType": 2, "apiVersion": 4211000, "driverVersion": 1}
    properties = {"VkPhysicalDeviceProperties": core, **blocks.pop("properties", {})}
    return {"capabilities": {"device": {"properties": properties, **blocks}}}


def written(path: Path, document: Any) -> Path:
    """`path` with the document in it."""
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return path


def test_vulkaninfo_shows_the_device_its_driver_and_queues() -> None:
    """A real file of an H200."""
    (device,) = devices_from(H200, "run-1")
    assert (device.device, device.run, device.name, device.type, device.null) == (
        "file:vulkaninfo-nvidia-h200-580.159.04/0",
        "run-1",
        "NVIDIA H200",
        "discrete-gpu",
        False,
    )
    assert (device.driver.name, device.driver.id, device.driver.version) == ("NVIDIA", "VK_DRIVER_ID_NVIDIA_PROPRIETARY", "580.159.04")
    assert (device.driver.api, device.driver.conformance) == ("1.4.312", "1.4.1.3")
    assert (device.hardware.vendor_id, device.hardware.device_id, device.hardware.pci) == (0x10DE, 9013, "0000:00:06.0")
    assert device.queues is not None
    assert device.queues[3].flags == ["TRANSFER", "SPARSE_BINDING", "VIDEO_DECODE_KHR"]
    assert device.queues[3].timestamp_bits == 32


def test_what_vulkaninfo_does_not_show_is_unknown_and_never_no() -> None:
    """No tuples, no NV structs, no heaps in the file: None and absent, and requirements on them are neither met nor unmet."""
    (device,) = devices_from(H200)
    assert device.heaps is None
    assert msgspec.structs.astuple(device.coopmat) == (None, None, None, None)
    assert "VkPhysicalDeviceCooperativeMatrix2FeaturesNV" not in device.features
    met = {r.path: evaluate(device, r).met for r in all_requirements()}
    assert (met["scalar-f16"], met["intdot"]) == (True, True)
    assert (met["coopmat"], met["coopmat2"]) == (None, None)
    cells = {row.label: row.cells[0] for row in caps.rows([device])}
    assert cells["KHR_cooperative_matrix"] == "yes, tuples unknown"
    assert cells["NV_cooperative_matrix2"] == cells["coopmat f16 -> f32"] == cells["heaps"] == "unknown"
    assert cells["float8"] == "no"  # it lists its extensions, and that is not among them
    assert cells["subgroup operations"].startswith("yes, all 8")


def test_vulkaninfo_and_the_driver_itself_say_the_same() -> None:
    """vkprobe asked the same driver version on the same kind of card: every value in both is equal, in records' form."""
    (file,) = devices_from(H200)
    (live,) = (r for r in read_records(LIVE) if isinstance(r, DeviceRecord))
    assert file.extensions == live.extensions
    assert file.queues == live.queues
    compared = 0
    for theirs, ours in ((file.features, live.features), (file.properties, live.properties)):
        for struct, members in theirs.items():
            if struct == "VkPhysicalDeviceDescriptorBufferDensityMapPropertiesEXT":
                continue  # vulkaninfo asks for it without its second extension
            for member, value in members.items():
                pairs = value.items() if isinstance(value, dict) else [("", value)]
                for inner, one in pairs:
                    other = ours[struct][member][inner] if inner else ours[struct][member]
                    if not {member, inner} & (_ROUNDED | _OWN):
                        assert one == other, (struct, member, inner)
                        compared += 1
    assert compared > 700


def test_gpuinfo_reports_say_what_the_driver_does() -> None:
    """A recorded device in a report's shape comes back with the same facts, in the same form; only tuples are unknown."""
    device = recorded("radv-gfx1201")
    from_report = _through_report(device)
    assert (from_report.name, from_report.type, from_report.driver.api, from_report.driver.version) == (
        device.name,
        device.type,
        device.driver.api,
        device.driver.version,
    )
    assert (from_report.driver.id, from_report.driver.conformance) == (device.driver.id, device.driver.conformance)
    assert from_report.hardware == msgspec.structs.replace(device.hardware, pci=from_report.hardware.pci, chip=from_report.hardware.chip)
    assert from_report.extensions == device.extensions
    assert from_report.queues == device.queues
    assert from_report.heaps == device.heaps
    assert from_report.coopmat.khr is None
    for struct, members in device.features.items():
        if struct in from_report.features:
            assert from_report.features[struct] == members
    assert from_report.features.keys() >= {s for s in device.features if "Vulkan1" in s or s.endswith(("KHR", "EXT"))}
    for struct, members in from_report.properties.items():
        for member, value in members.items():
            assert value == device.properties[struct][member], (struct, member)
    want, have = ({r.path: evaluate(d, r).met for r in all_requirements()} for d in (device, from_report))
    assert {path for path in want if have[path] not in (want[path], None)} == set()


def _through_report(device: DeviceRecord) -> DeviceRecord:
    from vkprobe.results import gpuinfo
    from vkprobe.results.devices import EXPECTED
    from vkprobe.results.document import parse
    from vkprobe.results.facts_file import record

    root = parse(json.dumps(report(device)).encode(), "report.json", EXPECTED)
    assert gpuinfo.is_report(root)
    return record(gpuinfo.device(root), root, run="r", device="file:report/0")


def test_a_report_of_an_extension_that_is_not_known_keeps_its_members(tmp_path: Path) -> None:
    """They are under the extension's own name, because its struct's isn't guessed."""
    document = report(recorded("radv-gfx1201"))
    document["extended"]["devicefeatures2"].append({"name": "newThing", "extension": "VK_EXT_new_thing", "supported": True})
    (device,) = devices_from(written(tmp_path / "report.json", document))
    assert device.features["VK_EXT_new_thing"] == {"newThing": True}


def test_records_give_each_devices_newest(tmp_path: Path) -> None:
    """Two records of one device and one of another: two devices, numbered; tuples and all else as they are."""
    device, other = recorded("nvk-172"), recorded("lvp")
    older = msgspec.structs.replace(device, at="2000-01-01T00:00:00.000Z", name="older")
    path = tmp_path / "both.jsonl"
    path.write_bytes(b"\n".join(encode(r) for r in (device, older, other)) + b"\n")
    first, second = devices_from(path, "now")
    assert (first.device, first.name, second.device) == ("file:both/0", device.name, "file:both/1")
    assert first == msgspec.structs.replace(device, run="now", device="file:both/0")


def test_files_of_one_name_get_numbers(tmp_path: Path) -> None:
    """Ids stay apart."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = [written(tmp_path / folder / "x.json", profile()) for folder in "ab"]
    assert [d.device for d in devices_from_all(paths)] == ["file:x/0", "file:x-2/0"]


def test_a_profile_that_vkprobe_wrote_comes_back_with_its_tuples(tmp_path: Path) -> None:
    """The sidecar beside it is read too: the same requirements are met, nothing differs."""
    (device,) = devices_from(LIVE)
    path = written(tmp_path / "h200.json", device_profile(device))
    bare = devices_from(path)[0]
    written(tmp_path / "h200.tuples.json", device_sidecar(device))
    (back,) = devices_from(path)
    assert bare.coopmat.khr is None
    assert (back.coopmat, back.heaps, back.extensions) == (device.coopmat, device.heaps, device.extensions)
    assert [evaluate(back, r).met for r in all_requirements()] == [evaluate(device, r).met for r in all_requirements()]
    assert [c for c in difference(device, back).changes if c.section != "identity"] == []


@pytest.mark.parametrize(
    ("sidecar", "words"),
    [
        ({"name": "Y", "coopmat": {"khr": None, "nv_flexible": None, "ext": None}, "heaps": None}, "is of 'Y'"),
        ({"name": 1}, r"\$\.name: expected a string, found 1"),
    ],
)
def test_a_sidecar_of_something_else_is_refused(tmp_path: Path, sidecar: Any, words: str) -> None:
    """Another device's tuples are nobody's; the sidecar's name is in the sentence."""
    written(tmp_path / "x.tuples.json", sidecar)
    with pytest.raises(UsageError, match=r"x\.tuples\.json.*" + words):
        devices_from(written(tmp_path / "x.json", profile()))


def test_a_byte_order_mark_and_utf16_are_read(tmp_path: Path) -> None:
    """Redirections on Windows write such files."""
    for encoding in ("utf-8-sig", "utf-16"):
        path = written(tmp_path / "x.json", json.dumps(profile()).encode(encoding))
        assert devices_from(path)[0].name == "X"


def test_older_names_of_structs_become_the_canonical_ones(tmp_path: Path) -> None:
    """Device records use the canonical names."""
    document = profile(features={"VkPhysicalDeviceShaderFloat16Int8FeaturesKHR": {"shaderFloat16": True}})
    (device,) = devices_from(written(tmp_path / "x.json", document))
    assert device.features == {"VkPhysicalDeviceShaderFloat16Int8Features": {"shaderFloat16": True}}


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """A device's name may say anything."""
    document = profile()
    document["capabilities"]["device"]["properties"]["VkPhysicalDeviceProperties"]["deviceName"] = "evil\x1b[2J"
    assert devices_from(written(tmp_path / "x.json", document))[0].name == "evil?[2J"


def test_a_conformance_version_without_its_parts_is_unknown(tmp_path: Path) -> None:
    """It is no error, because nothing is computed from it."""
    document = profile(properties={"VkPhysicalDeviceVulkan12Properties": {"conformanceVersion": {"major": 1}, "driverName": "d"}})
    (device,) = devices_from(written(tmp_path / "x.json", document))
    assert (device.driver.name, device.driver.conformance) == ("d", None)


WHOLE = H200.read_bytes()
LIMITS = {"VkPhysicalDeviceProperties": {"limits": {"timestampPeriod": "x"}}}
HOSTILE: dict[str, tuple[Any, str]] = {
    "truncated": (WHOLE[:5000], r"line 133, column 3: .*cut short"),
    "list": (b"[1,2]", r"an array.*vulkaninfo --json"),
    "number": (b"17", r"single value.*vulkaninfo --json"),
    "deep": (b"[" * 100_000, r"nested too deeply"),
    "deep-object": (b'{"a":' * 100_000, r"nested too deeply"),
    "deep-record": (b'{"kind":"device","x":' + b"[" * 100_000, r"nested too deeply"),
    "binary": (bytes(range(256)) * 50, r"line 1, column 1: not JSON"),
    "latin1": (b'{"capabilities": "\xe9"}', r"not UTF-8"),
    "empty": (b"", r"empty.*vulkaninfo --json"),
    "foreign-record": (b'{"kind":"device"}', r"line 1: not a valid device record.*run"),
    "only-a-run": (encode(next(iter(read_records(RECORDED / "caps-lvp.jsonl")))) + b"\n", r"no device record"),
    "numbers": ({"capabilities": {"device": {"properties": LIMITS}}}, r"limits\.timestampPeriod: expected a number, found \"x\""),
    "feature": (
        profile(features={"VkPhysicalDeviceFeatures": {"shaderInt16": "yes"}}),
        r"shaderInt16: expected true or false, found \"yes\"",
    ),
    "size": (profile(properties={"VkPhysicalDeviceVulkan13Properties": {"minSubgroupSize": [1]}}), r"minSubgroupSize: expected a number"),
    "extensions": (profile(extensions=["VK_KHR_x"]), r"\$\.capabilities\.device\.extensions: expected an object, found an array"),
    "queues": (profile(queueFamiliesProperties=[{}]), r"queueFamiliesProperties\[0\]: expected an object with `VkQueueFamilyProperties`"),
    "blocks": ({"capabilities": [1]}, r"\$\.capabilities: expected an object"),
    "no-block": ({**profile(), "profiles": {"VP": {"capabilities": ["b"]}}}, r"\$\.profiles\.VP\.capabilities\[0\]: .*found \"b\""),
    "requirement": ({"capabilities": {"a": {"features": {}}}}, r"deviceName.*profile of requirements"),
    "foreign": ({"name": "left-pad", "version": "1.0.0"}, r"another tool.*'name', 'version'.*vulkaninfo --json"),
    "devsim": ({"VkPhysicalDeviceProperties": {}}, r"older devsim schema.*newer vulkaninfo"),
    "infinite": (b'{"capabilities":{"device":{"extensions":{"VK":1e999}}}}', r"a number or a string that vkprobe can't represent"),
    "report": (
        {"properties": {"limits": {"timestampPeriod": "x"}}, "extensions": []},
        r"\$\.properties\.limits\.timestampPeriod: expected",
    ),
    "report-list": ({"properties": {}, "extensions": {"a": 1}}, r"\$\.extensions: expected an array, found an object"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_file_is_a_sentence_with_file_place_and_what_was_expected(tmp_path: Path, name: str) -> None:
    """This holds whatever is in the file."""
    document, words = HOSTILE[name]
    path = written(tmp_path / f"{name}.json", document)
    with pytest.raises(UsageError, match=words) as caught:
        devices_from(path)
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("start", [b'{"capabilities": {"x": "', b'{"kind":"device","x":"'])
def test_a_file_of_1_gb_is_refused_unread(tmp_path: Path, start: bytes) -> None:
    """It is never read into memory as a whole."""
    path = tmp_path / "big.json"
    with open(path, "wb") as file:
        file.write(start)
        file.truncate(1_000_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=r"big\.json.*MiB"):
            devices_from(path)
        assert tracemalloc.get_traced_memory()[1] < 160_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("path", ["/nonexistent/x.json", "/dev/null", "/proc"])
def test_what_is_no_file_is_reported(path: str) -> None:
    """Missing, a device node, a folder."""
    with pytest.raises(UsageError, match=path):
        devices_from(path)


@pytest.mark.parametrize(
    ("kind", "struct", "member", "value"),
    [
        ("features", "VkPhysicalDeviceFeatures", "shaderInt16", "yes"),
        ("properties", "VkPhysicalDeviceVulkan13Properties", "minSubgroupSize", [1]),
        ("properties", "VkPhysicalDeviceVulkan11Properties", "subgroupSize", "many"),
    ],
)
def test_a_records_facts_must_be_of_their_kind(tmp_path: Path, kind: str, struct: str, member: str, value: Any) -> None:
    """A wrong type in a device record is reported with the device and the member, before anything is computed from it."""
    device = recorded("lvp")
    structs = copy.deepcopy(getattr(device, kind))
    structs[struct][member] = value
    path = tmp_path / "x.jsonl"
    path.write_bytes(encode(msgspec.structs.replace(device, **{kind: structs})) + b"\n")
    with pytest.raises(UsageError, match=rf"embedded:lvp/0: {kind}\.{struct}\.{member}: expected"):
        devices_from(path)


def test_recorded_devices_come_through_unchanged() -> None:
    """Every recorded driver's facts are of the kinds that the registry says."""
    for path in sorted(RECORDED.glob("caps-*.jsonl")):
        (live,) = (r for r in read_records(path) if isinstance(r, DeviceRecord))
        (device,) = devices_from(path, live.run)
        assert msgspec.structs.replace(device, device=live.device) == live
