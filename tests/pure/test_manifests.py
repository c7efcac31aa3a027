"""Manifests are found and read as the Vulkan loader does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vkprobe.drivers import manifests


def write(path: Path, library: str = "libvulkan_test.so", **icd: object) -> Path:
    """An ICD manifest at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {"file_format_version": "1.0.1", "ICD": {"library_path": library, "api_version": "1.3.0", **icd}}
    path.write_text(json.dumps(body))
    return path


def homes(tmp: Path) -> dict[str, str]:
    """An environment whose every folder lies below `tmp`."""
    return {
        "HOME": str(tmp / "home"),
        "XDG_CONFIG_DIRS": str(tmp / "xdg"),
        "XDG_DATA_DIRS": f"{tmp / 'local'}:{tmp / 'share'}",
    }


def test_default_folders_are_the_loaders_in_its_order() -> None:
    """Without variables they are personal config, /etc/xdg, /etc, personal data, /usr/local/share, /usr/share."""
    expected = ["/h/.config", "/etc/xdg", "/etc", "/h/.local/share", "/usr/local/share", "/usr/share"]
    assert [Path(f) / "vulkan/icd.d" for f in expected] == manifests.search_paths({"HOME": "/h"})


def test_without_home_only_shared_folders_remain() -> None:
    """A missing HOME adds no folder; XDG_CONFIG_HOME still counts."""
    paths = manifests.search_paths({"XDG_CONFIG_HOME": "/c"})
    assert [Path("/c/vulkan/icd.d"), Path("/etc/xdg/vulkan/icd.d")] == paths[:2]
    assert len(paths) == 5


def test_driver_files_variable_replaces_every_folder(tmp_path: Path) -> None:
    """VK_DRIVER_FILES beats VK_ICD_FILENAMES and VK_ADD_DRIVER_FILES; its entries may be files or folders."""
    a, b = write(tmp_path / "a_icd.json"), write(tmp_path / "folder/b_icd.json")
    write(tmp_path / "share/vulkan/icd.d/c_icd.json")
    env = homes(tmp_path) | {"VK_DRIVER_FILES": f"{a}:{tmp_path / 'folder'}", "VK_ICD_FILENAMES": "/no", "VK_ADD_DRIVER_FILES": "/no"}
    assert manifests.files(env) == [a, b]


def test_old_variable_name_still_works(tmp_path: Path) -> None:
    """VK_ICD_FILENAMES alone replaces every folder, too."""
    a = write(tmp_path / "a_icd.json")
    assert manifests.files(homes(tmp_path) | {"VK_ICD_FILENAMES": str(a)}) == [a]


def test_added_files_come_before_the_folders(tmp_path: Path) -> None:
    """VK_ADD_DRIVER_FILES leads, and the folders follow."""
    added, local = write(tmp_path / "z_icd.json"), write(tmp_path / "local/vulkan/icd.d/a_icd.json")
    assert manifests.files(homes(tmp_path) | {"VK_ADD_DRIVER_FILES": str(added)}) == [added, local]


def test_a_manifest_reached_twice_is_listed_once(tmp_path: Path) -> None:
    """A symlink in another folder is the same driver."""
    real = write(tmp_path / "local/vulkan/icd.d/a_icd.json")
    link = tmp_path / "share/vulkan/icd.d/a_icd.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    assert manifests.files(homes(tmp_path)) == [real]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"VK_LOADER_DRIVERS_SELECT": "lvp*"}, ["lvp_icd.json"]),
        ({"VK_LOADER_DRIVERS_DISABLE": "*nvidia*,LVP_icd.json"}, ["radeon_icd.x86_64.json"]),
        ({"VK_LOADER_DRIVERS_DISABLE": "*", "VK_LOADER_DRIVERS_SELECT": "*.x86_64.json"}, ["radeon_icd.x86_64.json"]),
        ({"VK_LOADER_DRIVERS_SELECT": "lvp"}, []),
    ],
)
def test_driver_globs_filter_by_file_name(tmp_path: Path, variables: dict[str, str], expected: list[str]) -> None:
    """VK_LOADER_DRIVERS_SELECT and _DISABLE compare file names without case; a selected driver is not disabled."""
    for name in ("lvp_icd.json", "nvidia_icd.json", "radeon_icd.x86_64.json"):
        write(tmp_path / "share/vulkan/icd.d" / name)
    assert [p.name for p in manifests.files(homes(tmp_path) | variables)] == expected


def test_library_path_with_a_slash_is_relative_to_the_manifest(tmp_path: Path) -> None:
    """`../lib/x.so` counts from the manifest's folder; a bare name is left to the dynamic linker."""
    library = tmp_path / "lib/x.so"
    library.parent.mkdir()
    library.touch()
    assert manifests.read(write(tmp_path / "icd.d/a.json", "../lib/x.so")).library == str(library)
    assert manifests.read(write(tmp_path / "icd.d/b.json", "x.so")).library == "x.so"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\n{ this is not JSON", ["not JSON", "line 2 column 3"]),
        ("[]", ["not a JSON object"]),
        ('{"file_format_version": "1.0.0", "layer": {}}', ["no `ICD` object"]),
        ('{"ICD": {"library_path": "x.so", "api_version": "1.0.0"}}', ["file_format_version"]),
        ('{"file_format_version": "1.0.0", "ICD": {"api_version": "1.0.0"}}', ["library_path"]),
        ('{"file_format_version": "1.0.0", "ICD": {"library_path": "x.so"}}', ["api_version"]),
        (
            '{"file_format_version": "1.0.0", "ICD": {"library_path": "/nowhere/x.so", "api_version": "1.0.0"}}',
            ["/nowhere/x.so", "not exist"],
        ),
    ],
)
def test_a_broken_manifest_says_what_and_where(tmp_path: Path, text: str, words: list[str]) -> None:
    """The driver stays listed, with its fault and a remedy."""
    path = tmp_path / "bad_icd.json"
    path.write_text(text)
    spec = manifests.spec_of(path)
    assert spec.name == "bad"
    assert spec.fault is not None
    assert spec.remedy
    assert all(word in spec.fault for word in [*words, str(path)])


def test_a_named_file_that_is_absent_is_a_fault(tmp_path: Path) -> None:
    """A file that VK_DRIVER_FILES names is listed though it doesn't exist."""
    (spec,) = manifests.system_drivers({"VK_DRIVER_FILES": str(tmp_path / "gone_icd.json")})
    assert spec.name == "gone"
    assert "does not exist" in (spec.fault or "")


def test_32_bit_manifests_are_left_out(tmp_path: Path) -> None:
    """`library_arch` and distributions' file names identify them."""
    folder = tmp_path / "share/vulkan/icd.d"
    write(folder / "lvp_icd.i686.json")
    write(folder / "amd_icd32.json")
    write(folder / "tagged_icd.json", library_arch="32")
    write(folder / "lvp_icd.x86_64.json", library_arch="64")
    assert [s.name for s in manifests.system_drivers(homes(tmp_path))] == ["lvp"]


def test_equal_names_are_made_unique(tmp_path: Path) -> None:
    """The first in the loader's order keeps the short name."""
    write(tmp_path / "local/vulkan/icd.d/radeon_icd.json")
    write(tmp_path / "share/vulkan/icd.d/radeon_icd.x86_64.json")
    specs = manifests.system_drivers(homes(tmp_path))
    assert [(s.name, Path(s.icd or "").name) for s in specs] == [("radeon", "radeon_icd.json"), ("radeon-2", "radeon_icd.x86_64.json")]


def test_text_behind_the_object_is_let_through(tmp_path: Path) -> None:
    """The loader's parser accepts a byte-order mark before the object and anything behind it, so vkprobe does too."""
    path = write(tmp_path / "a_icd.json")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\n// end")
    assert manifests.spec_of(path).fault is None
