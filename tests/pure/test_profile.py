"""Profiles files: valid for the Khronos schema, nothing lost of what it has words for, tuples beside them."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from tests.pure.recorded_devices import RECORDED, recorded
from vkprobe.cli.profile import profile
from vkprobe.errors import UsageError
from vkprobe.requirements import all_requirements
from vkprobe.results import profile_names
from vkprobe.results.devices import devices_from
from vkprobe.results.profile import device_profile, device_sidecar, path_profile, path_sidecar

NAMES = ("anv-bmg", "lvp", "nvidia-h200", "nvk-172", "radv-gfx1201", "turnip-750")
VULKANINFO = RECORDED / "vulkaninfo-nvidia-h200-580.159.04.json"


@cache
def registry() -> Any:
    """The Khronos registry."""
    return pytest.importorskip("vulkan_object", reason="pip install vulkan-object").get_vulkan_object()


def faults(document: dict[str, Any]) -> list[str]:
    """Faults that the schema would reject, which its generator makes from the registry."""
    errors = [f"key {key}" for key in document if key not in ("$schema", "capabilities", "profiles")]
    for name, block in document["capabilities"].items():
        errors += [f"{name}: {key}" for key in block.keys() - {"extensions", "features", "properties", "queueFamiliesProperties"}]
        errors += [extension for extension in block.get("extensions", {}) if extension not in registry().extensions]
        for kind in ("Features", "Properties"):
            for struct, members in block.get(kind.lower(), {}).items():
                errors += _struct_faults(struct, members, f"VkPhysicalDevice{kind}")
        families = block.get("queueFamiliesProperties", [])
        errors += ["equal queue families"] * (len(families) != len({json.dumps(f, sort_keys=True) for f in families}))
        for family in families:
            for struct, members in family.items():
                errors += _struct_faults(struct, members, "VkQueueFamilyProperties")
    for name, one in document["profiles"].items():
        keys = {"version", "api-version", "label", "description", "contributors", "history", "capabilities"}
        errors += [name] if not re.match(r"^VP_[A-Z0-9]+_[A-Za-z0-9_]+$", name) else []
        errors += [f"{name}: {key}" for key in keys ^ (one.keys() - {"profiles"})]
        errors += [] if re.fullmatch(r"\d+\.\d+\.\d+", one["api-version"]) else [f"{name}: api-version"]
        errors += [f"{name}: no block {b}" for b in one["capabilities"] if b not in document["capabilities"]]
        errors += [f"{name}: no profile {p}" for p in one.get("profiles", []) if p not in document["profiles"]]
    return errors


def _struct_faults(name: str, members: dict[str, Any], base: str) -> list[str]:
    struct = registry().structs.get(name) or next((s for s in registry().structs.values() if name in s.aliases), None)
    if struct is None or not (struct.name in (base, f"{base}2") or f"{base}2" in struct.extends):
        return [name]
    return _member_faults(struct, members)


def _member_faults(struct: Any, members: dict[str, Any]) -> list[str]:
    types = {m.name: m for m in struct.members if m.name not in ("sType", "pNext")}
    errors = [f"{struct.name}.{name}" for name in members if name not in types]
    for name, value in members.items():
        if name in types and not _fits(types[name], types[name].type, value):
            errors.append(f"{struct.name}.{name} = {value!r}")
    return errors


def _fits(member: Any, type: str, value: Any) -> bool:
    vk = registry()
    if type == "char":
        return isinstance(value, str)
    if member is not None and (member.fixedSizeArray or (member.length and member.pointer)):
        unique = type not in (*vk.enums, *vk.bitmasks, *vk.flags) or len(value) == len(set(value))
        return isinstance(value, list) and unique and all(_fits(None, type, item) for item in value)
    if type in vk.structs:
        return isinstance(value, dict) and not _member_faults(vk.structs[type], value)
    if type in vk.enums:
        return value in {name for field in vk.enums[type].fields for name in (field.name, *field.aliases)}
    if type in vk.bitmasks:
        return value in _bits(type)
    if type in vk.flags:
        return isinstance(value, list) and set(value) <= _bits(vk.flags[type].bitmaskName)
    if type == "VkBool32":
        return isinstance(value, bool)
    if type == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, int) and not isinstance(value, bool) and (type[0] != "u" or value >= 0)


def _bits(type: str | None) -> set[str]:
    fields = registry().bitmasks[type].flags if type in registry().bitmasks else []
    return {name for flag in fields for name in (flag.name, *flag.aliases)}


@pytest.mark.parametrize("name", NAMES)
def test_a_devices_profile_is_valid(name: str) -> None:
    """Known structs, members and values of their types only, for real facts of real drivers."""
    assert faults(device_profile(recorded(name))) == []


@pytest.mark.parametrize("path", [need.path for need in all_requirements()])
def test_a_paths_profile_is_valid_and_complete(path: str) -> None:
    """It has every profile that it builds on, and vkprobe's own key is left out."""
    assert faults(path_profile([path])) == []


def test_the_check_finds_what_is_wrong() -> None:
    """A key, struct, member or value that the schema does not have is a fault; so are two of vulkaninfo's own slips."""
    document = device_profile(recorded("lvp"))
    block = document["capabilities"]["device"]
    block["features"]["VkPhysicalDeviceFeatures"]["teleport"] = True
    block["properties"]["VkPhysicalDeviceProperties"]["limits"]["maxImageDimension1D"] = "big"
    block["properties"]["VkPhysicalDeviceNonsense"] = {}
    document["vkprobe"] = {}
    assert len(faults(document)) == 4
    theirs = json.loads(VULKANINFO.read_text())
    del theirs["capabilities"]["device"]["formats"]
    assert sorted(faults(theirs)) == [
        "VK_NV_disk_cache_utils",
        "VK_NV_internal_nvpresent",
        "VkPhysicalDeviceLayeredApiPropertiesListKHR.pLayeredApis = 'NULL'",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_published_schema_accepts_it(name: str) -> None:
    """The schema is a file of the Khronos generator, if one is given."""
    schema = os.environ.get("VKPROBE_PROFILES_SCHEMA")
    if not schema:
        pytest.skip(
            "pip install jsonschema, and VKPROBE_PROFILES_SCHEMA=FILE as `profiles.py schema` of KhronosGroup/Vulkan-Profiles writes"
        )
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
    check = jsonschema.Draft7Validator(json.loads(Path(schema).read_text()))
    profiles = [device_profile(recorded(name)), *(path_profile([need.path]) for need in all_requirements())]
    assert [error.message for one in profiles for error in check.iter_errors(one)] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_read_back_gives_the_same(name: str, tmp_path: Path) -> None:
    """Every extension, feature and property that the schema has words for survives; tuples are unknown."""
    device = recorded(name)
    file = tmp_path / "device.json"
    file.write_text(json.dumps(device_profile(device)))
    (back,) = devices_from(file)
    names = set(profile_names.EXTENSIONS.split())
    assert back.extensions == {extension: version for extension, version in device.extensions.items() if extension in names}
    assert back.features == device.features
    for struct, members in device.properties.items():
        for member, value in members.items():
            if value is not None and "pLayeredApis" not in member:
                same = back.properties[struct].get(member)
                every_bit = isinstance(value, int) and value in (2**31 - 1, 2**32 - 1) and same == (same or 0) & value != 0
                assert same == value or every_bit, f"{struct}.{member}"  # of "all bits" a profile can name those of the registry
    assert back.coopmat.khr is None


def test_tuples_and_unknown_extensions_go_into_the_sidecar() -> None:
    """The H200's eleven KHR and 25 flexible tuples, and two extensions that the registry does not have."""
    sidecar = device_sidecar(recorded("nvidia-h200"))
    assert (len(sidecar["coopmat"]["khr"]), len(sidecar["coopmat"]["nv_flexible"])) == (11, 25)
    assert sidecar["coopmat"]["khr"][0] | {"scope": "subgroup", "m": 16} == sidecar["coopmat"]["khr"][0]
    assert list(sidecar["extensions"]) == ["VK_NV_disk_cache_utils", "VK_NV_internal_nvpresent"]


def test_the_coopmat2_paths_sidecar_holds_its_four_entries() -> None:
    """The sidecar has the facts that a profile can't express."""
    assert [len(tuples) for tuples in path_sidecar(["coopmat2"]).values()] == [4]
    assert path_sidecar(["scalar-f32"]) == {}


def test_unknown_facts_are_left_out() -> None:
    """No queues, no member without a value; without an API version there is no profile."""
    bare = replace(recorded("lvp"), queues=None, features={"VkPhysicalDeviceFeatures": {"shaderInt64": None}})
    block = device_profile(bare)["capabilities"]["device"]
    assert "queueFamiliesProperties" not in block
    assert block["features"] == {"VkPhysicalDeviceFeatures": {}}
    with pytest.raises(UsageError, match="API version"):
        device_profile(replace(bare, driver=replace(bare.driver, api=None)))


def test_output_writes_profile_and_sidecar(tmp_path: Path) -> None:
    """-o FILE.json, FILE.tuples.json beside it; without -o the profile alone is printed."""
    out = tmp_path / "nvk.json"
    source = str(RECORDED / "caps-nvk-172.jsonl")
    assert CliRunner().invoke(profile, ["--from", source, "-o", str(out)]).exit_code == 0
    assert json.loads((tmp_path / "nvk.tuples.json").read_text())["coopmat"]["khr"]
    printed = CliRunner().invoke(profile, ["--from", source]).stdout
    assert json.loads(printed)["capabilities"] == json.loads(out.read_text())["capabilities"]


def test_several_devices_or_a_device_beside_a_path_are_refused() -> None:
    """One file is of one thing."""
    two = [word for name in ("lvp", "nvk-172") for word in ("--from", str(RECORDED / f"caps-{name}.jsonl"))]
    assert "choose one of" in str(CliRunner().invoke(profile, two).exception)
    assert "leave out the device" in str(CliRunner().invoke(profile, ["nvk:172", "--path", "coopmat"]).exception)
    assert "no requirement for the path x" in str(CliRunner().invoke(profile, ["--path", "x"]).exception)


def test_names_are_those_of_the_registry() -> None:
    """Writing them again changes nothing."""
    from tools.profile_names import PATH, generated

    assert PATH.read_text(encoding="utf-8") == generated(registry())
