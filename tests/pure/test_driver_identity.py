"""Identifying the driver that a process loaded: build ids, manifests' libraries, kernel modules, chips."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from vkprobe.identity import chip as chip_of
from vkprobe.identity import pci_address
from vkprobe.worker import identity


def _elf(path: Path, note: bytes, *, kind: int = 4) -> Path:
    """A file that is ELF enough: a header, one program header, and the note it points at."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    program = struct.pack("<IIQQQQQQ", kind, 4, 64 + 56, 0, 0, len(note), len(note), 4)
    path.write_bytes(header + program + note)
    return path


def _note(kind: int, name: bytes, desc: bytes) -> bytes:
    return struct.pack("<III", len(name), len(desc), kind) + name + desc + bytes(-len(desc) % 4)


def test_the_build_id_is_found_behind_other_notes(tmp_path: Path) -> None:
    """Notes of other kinds, with padded descriptions, come before it."""
    notes = _note(5, b"GNU\0", b"abc") + _note(3, b"GNU\0", bytes.fromhex("0123456789abcdef0123"))
    assert identity.build_id(_elf(tmp_path / "lib.so", notes)) == "0123456789abcdef0123"


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x02\x01", b"\x7fELF\x01\x01" + bytes(80), b"#!/bin/sh\n" + bytes(80)])
def test_no_elf_file_has_no_build_id(tmp_path: Path, content: bytes) -> None:
    """Empty, cut, 32-bit and other files are unknown, not an error."""
    (tmp_path / "x").write_bytes(content)
    assert identity.build_id(tmp_path / "x") is None


def test_a_library_without_the_note_has_no_build_id(tmp_path: Path) -> None:
    """An ELF file without the note, and a missing file, are unknown."""
    assert identity.build_id(_elf(tmp_path / "lib.so", _note(1, b"GNU\0", b"abcd"))) is None
    assert identity.build_id(tmp_path / "absent.so") is None


def _manifest(folder: Path, library: str) -> str:
    path = folder / "icd.json"
    path.write_text(json.dumps({"ICD": {"library_path": library}}))
    return str(path)


def test_the_mapped_library_of_a_manifest_is_found(tmp_path: Path) -> None:
    """The manifest may have an absolute path, a path relative to it through a link, a soname, or a soname through a link."""
    (tmp_path / "libvulkan_x.so.26").touch()
    (tmp_path / "libvulkan_x.so").symlink_to("libvulkan_x.so.26")
    real = str(tmp_path / "libvulkan_x.so.26")
    mapped = ["/usr/lib/libc.so.6", real]
    for named in (real, str(tmp_path / "libvulkan_x.so"), "./libvulkan_x.so", "libvulkan_x.so.26", "libvulkan_x.so"):
        assert identity.driver_library(_manifest(tmp_path, named), mapped) == real, named


def test_a_library_that_is_not_mapped_is_unknown(tmp_path: Path) -> None:
    """A manifest whose library is elsewhere, that is no JSON, or that is missing gives no library."""
    assert identity.driver_library(_manifest(tmp_path, "/other/libvulkan_x.so"), ["/usr/lib/libvulkan_y.so"]) is None
    (tmp_path / "bad.json").write_text("{")
    assert identity.driver_library(str(tmp_path / "bad.json"), []) is None
    assert identity.driver_library(None, []) is None


def test_the_kernel_module_comes_from_the_drm_node_or_the_pci_address(tmp_path: Path) -> None:
    """The render node's driver comes first; without a node the PCI address decides; without both the module is unknown."""
    for place, module in (("dev/char/226:128/device", "amdgpu"), ("bus/pci/devices/0000:01:00.0", "nvidia")):
        (tmp_path / "module" / module).mkdir(parents=True)
        driver = tmp_path / place / "driver"
        driver.mkdir(parents=True)
        (driver / "module").symlink_to(tmp_path / "module" / module)
    drm = {"VkPhysicalDeviceDrmPropertiesEXT": {"hasPrimary": False, "hasRender": True, "renderMajor": 226, "renderMinor": 128}}
    assert identity.kernel_module(drm, "0000:01:00.0", str(tmp_path)) == "amdgpu"
    assert identity.kernel_module({}, "0000:01:00.0", str(tmp_path)) == "nvidia"
    assert identity.kernel_module({}, None, str(tmp_path)) is None


def test_pci_addresses_are_written_as_the_kernel_does() -> None:
    """Domain, bus and device in hexadecimal with leading zeros."""
    bus = {"pciDomain": 1, "pciBus": 0xC1, "pciDevice": 2, "pciFunction": 0}
    assert pci_address({"VkPhysicalDevicePCIBusInfoPropertiesEXT": bus}) == "0001:c1:02.0"
    assert pci_address({}) is None


@pytest.mark.parametrize(
    ("name", "chip"),
    [("NVIDIA GeForce RTX 3060 (NVK GA106)", "GA106"), ("Turnip Adreno (TM) 750", None), ("NVIDIA H200", None), ("NVK ", None)],
)
def test_the_chip_is_what_stands_behind_the_driver_in_brackets(name: str, chip: str | None) -> None:
    """Only a name in brackets at the end is a chip."""
    assert chip_of({"deviceType": 2, "deviceName": name}) == chip


def test_a_software_driver_has_no_chip() -> None:
    """llvmpipe's brackets hold its compiler, not a chip."""
    assert chip_of({"deviceType": 4, "deviceName": "llvmpipe (LLVM 19.1.7, 256 bits)"}) is None
