"""`vkprobe caps --diff` and `--from` beside live drivers, and null devices that can't be, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vkprobe.drivers import embedded as embedded_set
from vkprobe.drivers.clibrary import LIBRARIES
from vkprobe.drivers.spec import DriverSpec

RECORDED = Path(__file__).parent.parent / "recorded"


def caps(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`vkprobe caps ARGUMENTS`, whatever it ends with."""
    argv = [sys.executable, "-m", "vkprobe", "caps", *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600)
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def trixie(embedded: dict[str, DriverSpec]) -> str:
    """The older suite."""
    del embedded
    if "trixie" not in embedded_set.fetched_suites():
        pytest.skip("the embedded set of trixie is not there: run `vkprobe drivers fetch --suite trixie`")
    return "trixie"


def test_two_mesa_versions_of_one_chip_show_what_changed(trixie: str) -> None:
    """Live: what 26.1 brought to navi31, as JSON, and in words with status 0."""
    done = caps("--diff", f"radv:navi31@{trixie}", "radv:navi31", "--format", "json")
    assert done.returncode == 0, done.stderr
    whole = json.loads(done.stdout)
    appeared = {row["name"] for row in whole["changes"]["extension"] if row["what"] == "appeared"}
    assert "VK_VALVE_shader_mixed_float_dot_product" in appeared
    assert "Mesa 25.0" in whole["before"]["driver"]["info"]
    assert "Mesa 26.1" in whole["after"]["driver"]["info"]


def test_a_driver_and_a_file_are_compared(embedded: dict[str, DriverSpec]) -> None:
    """lavapipe against the H200's record: NV_cooperative_vector appeared."""
    del embedded
    done = caps("--diff", "embedded:lvp/0", RECORDED / "caps-nvidia-h200.jsonl")
    assert done.returncode == 0, done.stderr
    assert "VK_NV_cooperative_vector" in done.stdout


def test_a_file_stands_beside_live_drivers(embedded: dict[str, DriverSpec]) -> None:
    """The driver's column first, then the file's."""
    del embedded
    done = caps("--null", "nvk:172", "--from", RECORDED / "caps-nvidia-h200.jsonl", "--format", "csv")
    assert done.stdout.splitlines()[0] == ",nvk:172/0,file:caps-nvidia-h200/0"


@pytest.mark.parametrize("chip", ["radv:navi99", "nvk:fff", "turnip:999"])
def test_an_unknown_chip_is_a_sentence(embedded: dict[str, DriverSpec], chip: str) -> None:
    """Some shims abort, some list no device: each names the chip and those that are known."""
    del embedded
    done = caps("--null", chip)
    assert done.returncode in (4, 5)
    assert f"does not know the chip {chip.partition(':')[2]}" in done.stderr
    assert "known to work" in done.stderr or "supports" in done.stderr
    diff = caps("--diff", chip, "embedded:lvp")
    assert diff.returncode == 4
    assert "does not know the chip" in diff.stderr


def test_the_shim_of_another_driver_is_a_sentence(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """Under its own name or another, the error names the shim's family and the one that is needed."""
    shim = Path(str(embedded["lvp"].root)) / LIBRARIES / "libnouveau_noop_drm_shim.so"
    renamed = tmp_path / "shim.so"
    renamed.write_bytes(shim.read_bytes())
    for path in (shim, renamed):
        done = caps("--null", "radv:navi31", "--shim", path)
        assert done.returncode in (4, 5)
        assert f"{path} is the shim of nvk" in done.stderr
        assert "libamdgpu_noop_drm_shim.so" in done.stderr
