"""`vkprobe caps --from` and `--diff` as a user runs them, on files alone: no driver is needed, none is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.pure.recorded_devices import RECORDED
from vkprobe.cli.main import cli
from vkprobe.errors import VkprobeError

H200 = str(RECORDED / "vulkaninfo-nvidia-h200-580.159.04.json")
LIVE = str(RECORDED / "caps-nvidia-h200.jsonl")
OLD, NEW = (str(RECORDED / f"caps-radv-navi31-mesa-{version}.jsonl") for version in ("25.0", "26.1"))


def caps(*arguments: str) -> Result:
    """Run `vkprobe caps ARGUMENTS`."""
    return CliRunner().invoke(cli, ["caps", *arguments])


def refusal(*arguments: str) -> VkprobeError:
    """The error that `vkprobe caps ARGUMENTS` ends in."""
    done = caps(*arguments)
    assert isinstance(done.exception, VkprobeError), (done.output, done.exception)
    assert done.stdout == ""
    return done.exception


def test_files_stand_side_by_side_without_any_driver() -> None:
    """Two files, two columns, exit 0; nothing on stderr."""
    done = caps("--from", H200, "--from", LIVE)
    assert (done.exit_code, done.stderr) == (0, "")
    head = done.stdout.splitlines()[0]
    assert head.split() == ["file:vulkaninfo-nvidia-h200-580.159.04/0", "file:caps-nvidia-h200/0"]
    row = next(line for line in done.stdout.splitlines() if line.startswith("NV_cooperative_matrix2 "))
    assert row.split() == ["NV_cooperative_matrix2", "unknown", "yes"]


def test_records_of_files_belong_to_this_run() -> None:
    """--json: a run, then the devices; no driver was asked."""
    records = [json.loads(line) for line in caps("--from", H200, "--json").stdout.splitlines()]
    assert [r["kind"] for r in records] == ["run", "device"]
    assert records[1]["run"] == records[0]["run"]
    assert records[1]["coopmat"] == {"khr": None, "nv_flexible": None, "ext": None, "cooperative_vector": None}


def test_device_chooses_among_files() -> None:
    """A part of the name is enough; if nothing matches, the error lists the devices."""
    done = caps("--from", LIVE, "--from", OLD, "--device", "navi31", "--format", "csv")
    assert done.stdout.splitlines()[0] == ",file:caps-radv-navi31-mesa-25.0/0"
    assert "there is 0 (NVIDIA H200)" in str(refusal("--from", LIVE, "--device", "Radeon"))


def test_a_bad_file_ends_with_status_2_before_anything_is_written(tmp_path: Path) -> None:
    """The sentence names the file; the output file is not made."""
    bad, output = tmp_path / "bad.json", tmp_path / "out.jsonl"
    bad.write_text("[1,2]")
    error = refusal("--from", H200, "--from", str(bad), "-o", str(output))
    assert (error.status, bad.name in str(error), output.exists()) == (2, True, False)


def test_the_difference_of_two_files_is_printed_with_status_0() -> None:
    """Two Mesa versions of one chip."""
    done = caps("--diff", OLD, NEW)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "VK_VALVE_shader_mixed_float_dot_product" in done.stdout


def test_the_difference_as_json_and_as_records() -> None:
    """--format json is one object; --json the records of both devices."""
    whole = json.loads(caps("--diff", OLD, NEW, "--format", "json").stdout)
    assert [whole[side]["device"] for side in ("before", "after")] == [
        "file:caps-radv-navi31-mesa-25.0/0",
        "file:caps-radv-navi31-mesa-26.1/0",
    ]
    records = [json.loads(line) for line in caps("--diff", OLD, NEW, "--json").stdout.splitlines()]
    assert [r["kind"] for r in records] == ["run", "device", "device"]


def test_a_file_of_several_devices_needs_a_choice(tmp_path: Path) -> None:
    """`FILE/N`; without it the devices are listed."""
    both = tmp_path / "both.jsonl"
    both.write_bytes(Path(OLD).read_bytes() + Path(LIVE).read_bytes())
    assert "choose one" in str(refusal("--diff", str(both), NEW))
    assert "NVIDIA H200" in str(refusal("--diff", str(both), NEW))
    assert "no device 7" in str(refusal("--diff", f"{both}/7", NEW))
    whole = json.loads(caps("--diff", f"{both}/1", f"{both}/0", "--format", "json").stdout)
    assert [whole[side]["name"] for side in ("before", "after")] == ["NVIDIA H200", "AMD Radeon Graphics (RADV NAVI31)"]


def test_files_of_one_name_are_distinguished(tmp_path: Path) -> None:
    """before/x.jsonl and after/x.jsonl."""
    paths = []
    for folder, source in (("before", OLD), ("after", NEW)):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "x.jsonl")
        paths[-1].write_bytes(Path(source).read_bytes())
    whole = json.loads(caps("--diff", *map(str, paths), "--format", "json").stdout)
    assert [whole[side]["device"] for side in ("before", "after")] == ["file:x-1/0", "file:x-2/0"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--diff", OLD, "/nonexistent/x.json"), "/nonexistent/x.json: there is no such file"),
        (("--diff", OLD, "radv:"), "FAMILY:CHIP"),
        (("--diff", OLD, "no-such-driver"), "unknown driver no-such-driver"),
        (("--diff", OLD, NEW, "--from", H200), "--diff takes its two devices by itself"),
        (("--diff", OLD, NEW, "--null", "nvk:172"), "--diff takes its two devices by itself"),
    ],
)
def test_what_is_no_device_is_refused(arguments: tuple[str, ...], words: str) -> None:
    """A sentence, status 2."""
    error = refusal(*arguments)
    assert words in str(error)
    assert error.status == 2
