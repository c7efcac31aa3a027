"""Drivers are chosen by name, by manifest, from vkprobe.toml, or by default."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pure.test_manifests import homes, write
from vkprobe.drivers import clibrary, loader, select
from vkprobe.drivers.probe import DriverOutcome
from vkprobe.errors import NoDeviceError, UsageError


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose system has radeon and lvp, and an embedded set with lvp; the current folder is empty."""
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in homes(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VKPROBE_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "share/vulkan/icd.d/radeon_icd.json")
    write(tmp_path / "share/vulkan/icd.d/lvp_icd.json")
    write(tmp_path / "cache/drivers/trixie-backports/icd/lvp_icd.json")
    (tmp_path / "cache/drivers/trixie-backports/set.json").write_text("{}")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def config(text: str) -> None:
    """Write vkprobe.toml into the current folder."""
    Path("vkprobe.toml").write_text(text)


def answers(monkeypatch: pytest.MonkeyPatch, *working: str) -> None:
    """Let probing find devices for these drivers only."""
    monkeypatch.setattr(
        select,
        "probe",
        lambda specs: [DriverOutcome(spec=s, state="ok" if s.name in working else "no-device", reason="none") for s in specs],
    )


def test_embedded_drivers_never_hide_the_systems(machine: Path) -> None:
    """`lvp` is the system's, `embedded:lvp` the set's."""
    system, embedded = select.resolve(["lvp", "embedded:lvp"])
    assert system.icd == str(machine / "share/vulkan/icd.d/lvp_icd.json")
    assert embedded.icd == str(machine / "cache/drivers/trixie-backports/icd/lvp_icd.json")
    assert embedded.root == str(machine / "cache/drivers/trixie-backports")


def test_a_manifest_by_path_runs_on_the_sets_loader_where_the_system_has_none(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system has a loader, it runs on that."""
    path = str(write(machine / "build/my_icd.json"))
    monkeypatch.setattr(loader, "system_loader", lambda: None)
    assert select.resolve([path])[0].root == str(machine / "cache/drivers/trixie-backports")
    monkeypatch.setattr(loader, "system_loader", lambda: Path("/usr/lib/libvulkan.so.1"))
    assert select.resolve([path])[0].root is None


def test_an_unknown_name_lists_the_known_ones(machine: Path) -> None:
    """The error also suggests the nearest one."""
    with pytest.raises(UsageError, match=r"unknown driver radeom: known are lvp, radeon, embedded:lvp. Did you mean radeon\?"):
        select.resolve(["radeom"])


def test_an_absent_manifest_is_a_row_beside_others_and_an_error_alone(machine: Path) -> None:
    """The other drivers go on."""
    specs = select.resolve(["lvp", "/nowhere/gone_icd.json"])
    assert [s.name for s in specs] == ["lvp", "gone"]
    assert "/nowhere/gone_icd.json does not exist" in (specs[1].fault or "")
    with pytest.raises(UsageError, match=r"/nowhere/gone_icd.json"):
        select.resolve(["/nowhere/gone_icd.json"])


def test_a_driver_asked_for_twice_runs_once_and_namesakes_get_numbers(machine: Path) -> None:
    """Two builds of one driver stay apart."""
    other = str(write(machine / "build/lvp_icd.json"))
    assert [s.name for s in select.resolve(["lvp", other, "lvp"])] == ["lvp", "lvp-2"]


def test_default_is_the_systems_drivers_that_have_a_device(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded set is for machines without."""
    answers(monkeypatch, "radeon", "embedded:lvp")
    assert [s.name for s in select.resolve()] == ["radeon"]


def test_default_without_a_working_system_driver_is_the_embedded_lvp(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without GPU runs in software."""
    answers(monkeypatch, "embedded:lvp")
    assert [s.name for s in select.resolve()] == ["embedded:lvp"]


def test_nothing_at_all_says_what_to_fetch(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 5, with each driver's reason."""
    answers(monkeypatch)
    monkeypatch.setenv("VKPROBE_CACHE", str(machine / "empty"))
    with pytest.raises(NoDeviceError, match=r"radeon: none.*vkprobe drivers fetch"):
        select.resolve()


def test_toml_drivers_carry_manifest_variables_preload_and_launcher(machine: Path) -> None:
    """Paths count from the file's folder; numbers and booleans become text."""
    write(machine / "here/build/radeon_icd.json")
    (machine / "here/shim.so").touch()
    config(
        '[drivers.mine]\nicd = "build/radeon_icd.json"\nenv = { RADV_DEBUG = "nocache", N = 1, ON = true }\n'
        'preload = ["./shim.so"]\nlauncher = ["nice", "-n", "5"]\n[drivers.fast]\nicd = "radeon"\nenv = { RADV_PERFTEST = "x" }\n'
    )
    mine, fast = select.resolve(["mine", "fast"])
    assert mine.icd == str(machine / "here/build/radeon_icd.json")
    assert mine.environment == {"RADV_DEBUG": "nocache", "N": "1", "ON": "1"}
    assert mine.preload == (str(machine / "here/shim.so"),)
    assert mine.launcher == ("nice", "-n", "5")
    assert (fast.name, fast.icd) == ("fast", str(machine / "share/vulkan/icd.d/radeon_icd.json"))


def test_toml_by_option_replaces_the_one_in_the_folder(machine: Path) -> None:
    """--drivers FILE; its relative paths count from its own folder."""
    config('[drivers.a]\nicd = "radeon"\n')
    other = machine / "other.toml"
    other.write_text('[drivers.b]\nicd = "share/vulkan/icd.d/lvp_icd.json"\n')
    assert select.resolve(["b"], config=other)[0].icd == str(machine / "share/vulkan/icd.d/lvp_icd.json")
    with pytest.raises(UsageError, match="unknown driver a"):
        select.resolve(["a"], config=other)


def test_null_device_of_a_build_folder_takes_the_builds_shim_once(machine: Path) -> None:
    """`icd` and `null` together: the build's driver on the shim that it preloads, which must not be loaded twice."""
    write(machine / "here/install/radeon_icd.json")
    shim = machine / "here/install/libamdgpu_noop_drm_shim.so"
    shim.write_bytes(b"\x7fELF...AMDGPU_GPU_ID...")
    config('[drivers.n]\nicd = "install/radeon_icd.json"\nnull = "radv:navi31"\npreload = ["install/libamdgpu_noop_drm_shim.so"]\n')
    (spec,) = select.resolve(["n"])
    assert (spec.fault, spec.null, spec.preload) == (None, True, (str(shim),))
    assert spec.icd == str(machine / "here/install/radeon_icd.json")
    assert spec.environment == {"AMDGPU_GPU_ID": "navi31"}


def test_null_device_of_a_build_folder_without_a_shim_is_a_fault(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would otherwise start without one and find no device, without a reason; the set's shim does where there is one."""
    monkeypatch.setattr(clibrary, "HOST_FOLDERS", ())
    write(machine / "here/install/radeon_icd.json")
    config('[drivers.n]\nicd = "install/radeon_icd.json"\nnull = "radv:navi31"\n')
    (spec,) = select.resolve(["n"])
    assert "libamdgpu_noop_drm_shim.so is not there" in (spec.fault or "")
    libraries = machine / "cache/drivers/trixie-backports" / clibrary.LIBRARIES
    libraries.mkdir(parents=True)
    (libraries / "libamdgpu_noop_drm_shim.so").touch()
    (spec,) = select.resolve(["n"])
    assert (spec.fault, spec.preload) == (None, (str(libraries / "libamdgpu_noop_drm_shim.so"),))


def test_toml_null_device_takes_variables_of_its_own(machine: Path) -> None:
    """`null` names the chip; the driver is found as for --null."""
    root = machine / "cache/drivers/trixie-backports"
    write(root / "icd/radeon_icd.json")
    config('[drivers.n]\nnull = "radv:navi31"\nenv = { RADV_DEBUG = "x" }\n')
    (spec,) = select.resolve(["n"])
    assert spec.null
    assert spec.environment == {"AMDGPU_GPU_ID": "navi31", "RADV_DEBUG": "x"}
    assert spec.icd == str(root / "icd/radeon_icd.json")


def test_toml_preload_that_is_absent_is_a_fault(machine: Path) -> None:
    """The dynamic linker would pass over it, and a null device would be a real one."""
    config('[drivers.p]\nicd = "radeon"\npreload = ["./gone.so"]\n')
    (spec,) = select.resolve(["p"])
    assert str(machine / "here/gone.so") in (spec.fault or "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[drivers.x]\nicd = 1\n", r"\$\.drivers\.x\.icd: expected a string or null, found 1"),
        ('[drivers.x]\nicd = "radeon"\nenvironment = {}\n', "environment"),
        ("[drivers.x\n", "not TOML from line 1 on"),
        ("[drivers.x]\n", "neither icd nor null"),
        ('[drivers.x]\nicd = "nothing"\n', "nothing"),
    ],
)
def test_an_unusable_toml_says_what_is_wrong(machine: Path, text: str, words: str) -> None:
    """The error has the file's name."""
    config(text)
    with pytest.raises(UsageError, match=r"vkprobe\.toml.*" + words):
        select.resolve(["x"])


def test_shim_goes_to_the_family_it_is_for(machine: Path) -> None:
    """The file name decides; a shim with an unknown name needs a single family."""
    shim = machine / "libintel_noop_drm_shim.so"
    shim.touch()
    anv, nvk = select.resolve([], ["anv:bmg", "nvk:172"], shim=str(shim))
    assert (anv.preload, nvk.preload) == ((str(shim),), ())
    with pytest.raises(UsageError, match="--shim"):
        select.resolve([], ["anv:bmg", "nvk:172"], shim="/x/other.so")


def test_the_systems_loader_is_found_without_loading_it(tmp_path: Path) -> None:
    """LD_LIBRARY_PATH counts first."""
    (tmp_path / "libvulkan.so.1").write_text(json.dumps("not a library"))
    assert loader.system_loader({"LD_LIBRARY_PATH": f"/nowhere:{tmp_path}"}) == tmp_path / "libvulkan.so.1"


def test_a_shim_named_like_another_familys_is_refused_and_not_passed_over(machine: Path) -> None:
    """`--null radv:... --shim libnouveau_noop_drm_shim.so` must not run on the set's own shim without a word."""
    shim = machine / "libnouveau_noop_drm_shim.so"
    shim.write_bytes(b"\x7fELF...NOUVEAU_CHIPSET...")
    (radv,) = select.resolve([], ["radv:navi31"], shim=str(shim))
    assert "nvk" in (radv.fault or "") or "no radeon driver" in (radv.fault or "")
