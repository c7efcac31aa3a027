"""Null devices are named FAMILY:CHIP[@SUITE], and what is missing for one is said with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from vkprobe.drivers import clibrary, null
from vkprobe.errors import UsageError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fetched set with every family's driver and all shims but Intel's."""
    monkeypatch.setenv("VKPROBE_CACHE", str(tmp_path))
    monkeypatch.delenv("VKPROBE_INTEL_SHIM", raising=False)
    root = tmp_path / "drivers/trixie-backports"
    libraries = root / clibrary.LIBRARIES
    libraries.mkdir(parents=True)
    (root / "icd").mkdir()
    for row in null.FAMILIES.values():
        library = libraries / f"libvulkan_{row.driver}.so"
        library.touch()
        body = {"file_format_version": "1.0.1", "ICD": {"library_path": str(library), "api_version": "1.4.0"}}
        (root / f"icd/{row.driver}_icd.json").write_text(json.dumps(body))
        if row.shim_variable is None:
            (libraries / row.shim).touch()
    (root / "set.json").write_text("{}")
    return root


def only(text: str) -> null.NullName:
    """The one null device that `text` names."""
    (name,) = null.parse(text)
    return name


@pytest.mark.parametrize(
    ("text", "variable", "value"),
    [
        ("radv:gfx1201", "AMDGPU_GPU_ID", "gfx1201"),
        ("nvk:172", "NOUVEAU_CHIPSET", "172"),
        ("turnip:750", "FD_GPU_ID", "750"),
    ],
)
def test_a_null_device_is_a_driver_with_its_shim_and_variable(cache: Path, text: str, variable: str, value: str) -> None:
    """Each family's row gives manifest, shim and variable; the set's own loader runs it."""
    spec = null.resolve(only(text))
    row = null.FAMILIES[text.partition(":")[0]]
    assert (spec.name, spec.null, spec.fault, spec.root) == (text, True, None, str(cache))
    assert spec.environment == {variable: value}
    assert spec.preload == (str(cache / clibrary.LIBRARIES / row.shim),)
    assert spec.icd == str(cache / f"icd/{row.driver}_icd.json")


def test_intels_shim_is_missing_with_what_builds_it(cache: Path) -> None:
    """No package ships it: the remedy names the make target and the variable."""
    spec = null.resolve(only("anv:bmg"))
    assert "libintel_noop_drm_shim.so" in (spec.fault or "")
    assert "make intel-shim" in (spec.remedy or "")
    assert "VKPROBE_INTEL_SHIM" in (spec.remedy or "")


def test_intels_shim_comes_from_option_or_variable(cache: Path, tmp_path: Path) -> None:
    """--shim beats VKPROBE_INTEL_SHIM; a path that isn't there is a fault that names it."""
    shim = tmp_path / "shim.so"
    shim.write_bytes(b"\x7fELF...INTEL_STUB_GPU_PLATFORM...")
    by_variable = null.resolve(only("anv:bmg"), environment={"VKPROBE_INTEL_SHIM": str(shim)})
    by_option = null.resolve(only("anv:bmg"), shim=str(shim), environment={"VKPROBE_INTEL_SHIM": "/nowhere/else.so"})
    absent = null.resolve(only("anv:bmg"), environment={"VKPROBE_INTEL_SHIM": "/nowhere/else.so"})
    assert by_variable.preload == by_option.preload == (str(shim),)
    assert by_variable.fault is by_option.fault is None
    assert "/nowhere/else.so" in (absent.fault or "")


def test_an_absent_suite_names_the_command_that_fetches_it(cache: Path) -> None:
    """`@trixie` is never answered from another suite."""
    spec = null.resolve(only("nvk:172@trixie"))
    assert spec.name == "nvk:172@trixie"
    assert "trixie" in (spec.fault or "")
    assert "vkprobe drivers fetch --suite trixie" in (spec.remedy or "")


def test_chips_of_one_family_take_a_comma_list() -> None:
    """`radv:navi21,navi31`, each with a suite of its own, and families may change on the way."""
    assert [str(n) for n in null.parse("radv:navi21,navi31,nvk:172")] == ["radv:navi21", "radv:navi31", "nvk:172"]


@pytest.mark.parametrize("text", ["radv", "radv:", "foo:bar", "nvk:zzz", "turnip:a750", "radv:NAVI31", "navi31", "nvk:172@trixy", ""])
def test_a_name_that_can_be_no_null_device_is_a_usage_error(text: str) -> None:
    """Exit status 2, and the message says what can be written."""
    with pytest.raises(UsageError, match="--null"):
        null.parse(text)


def test_an_unknown_chip_is_reported_with_what_the_shim_supports(cache: Path) -> None:
    """The shim's own list is passed on; without one, the chips that are known to work."""
    reason, remedy = null.unknown_chip(null.resolve(only("turnip:1")), "FD_GPU_ID unrecognized, shim supports 630, 740\n")
    assert "turnip:1" in reason
    assert remedy == "this shim supports 630, 740"
    assert "navi31" in null.unknown_chip(null.resolve(only("radv:navi99")))[1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x7fELF...NOUVEAU_CHIPSET...", "is the shim of nvk"),
        (b"\x7fELF...zlib...", "is no drm-shim"),
        (b"a text\n", "is no shared library"),
    ],
)
def test_a_library_that_is_not_the_familys_shim_is_a_fault(cache: Path, tmp_path: Path, content: bytes, said: str) -> None:
    """Another family's shim, another library or a text is reported with the file before any driver starts."""
    shim = tmp_path / "shim.so"
    shim.write_bytes(content)
    spec = null.resolve(only("radv:navi31"), shim=str(shim), environment={})
    assert f"{shim} {said}" in (spec.fault or "")
    assert "libamdgpu_noop_drm_shim.so" in (spec.remedy or "")


def test_an_unknown_chip_of_a_driver_with_a_name_of_its_own_is_reported_as_well(cache: Path) -> None:
    """vkprobe.toml names null devices freely; if the shim wasn't given a chip, the remedy says so."""
    mine = replace(null.resolve(only("radv:navi99")), name="mine")
    assert "null device mine: the driver or its shim does not know the chip navi99" in null.unknown_chip(mine)[0]
    assert "own variable" in null.unknown_chip(replace(mine, environment={}))[1]
