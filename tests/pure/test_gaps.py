"""`gaps` on recorded devices: cells, missing conditions, prices, baselines, requirements as a condition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from tests.pure.recorded_devices import RECORDED, recorded
from tests.pure.sample_records import sample
from vkprobe.cli.gaps import gaps
from vkprobe.errors import UsageError
from vkprobe.records import DeviceRecord, ResultRecord, RunRecord, encode
from vkprobe.report.gaps import Gaps, as_text, build, choice_records, gap_records
from vkprobe.requirements import all_requirements
from vkprobe.results.store import read_records

H200, NVK, BMG, LVP = (recorded(name) for name in ("nvidia-h200", "nvk-172", "anv-bmg", "lvp"))
VULKANINFO = RECORDED / "vulkaninfo-nvidia-h200-580.159.04.json"


def text(*devices: DeviceRecord, form: str = "table", width: int | None = 120, **arguments: Any) -> str:
    """The report of some devices."""
    return as_text(build(devices, **arguments), form, width=width)


def file_of(path: Path, *devices: DeviceRecord) -> str:
    """A record file of devices."""
    path.write_bytes(b"".join(encode(d) + b"\n" for d in devices))
    return str(path)


def run(*arguments: str) -> Result:
    """The verb in this process; it loads no driver for files alone."""
    return CliRunner().invoke(gaps, list(arguments))


def test_rows_are_paths_and_columns_devices() -> None:
    """Every requirement has a row, every device a cell of yes, no, partial or unknown."""
    table = json.loads(text(NVK, form="json"))
    assert [g["path"] for g in table["gaps"]] == [r.path for r in all_requirements()]
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in text(LVP, BMG).split("\n\n")[0].splitlines()[3:]}
    assert rows["coopmat2"].split("  ")[0] == "partial 4 of 7"
    assert rows["coopmat-fa"].split() == ["no", "no"]
    assert rows["scalar-f16"].split() == ["yes", "yes"]


def test_an_extension_that_is_missing_brings_its_parts_along_in_words() -> None:
    """NVK's coopmat2: the extension first, then all that comes with it, in the specification's names."""
    said = " ".join(text(NVK).split())
    assert (
        "VK_NV_cooperative_matrix2 not listed (ggml-vulkan.cpp:6510-6625) and what comes with it: cooperativeMatrixWorkgroupScope" in said
    )
    assert "cooperativeMatrixFlexibleDimensionsMaxDimension >= 512, tuple f16,f16->f16 of a workgroup of 128" in said


def test_each_missing_part_of_a_listed_extension_has_its_line() -> None:
    """Battlemage: features off, the limit that is 0, and the tuples in one line."""
    said = " ".join(text(BMG).split())
    assert "cooperativeMatrixWorkgroupScope off (ggml-vulkan.cpp:6510-6625)" in said
    assert "cooperativeMatrixFlexibleDimensionsMaxDimension is 0, needed 512 (ggml-vulkan.cpp:6510-6625)" in said
    assert said.count("; the device lists none at all") == 1


def test_what_an_included_path_lacks_is_reported_once() -> None:
    """coopmat-bf16 points to bf16 in place of repeating it."""
    said = " ".join(text(NVK).split())
    assert "all that bf16 lacks" in said
    assert said.count("VK_KHR_shader_bfloat16 not listed (") == 1


def test_the_same_gap_of_several_devices_is_spelled_out_once() -> None:
    """The second of two NVK devices refers to the first."""
    said = text(NVK, replace(NVK, device="nvk:162/0"))
    assert said.count("and what comes with it: cooperativeMatrixWorkgroupScope") == 1
    assert "the same as nvk:172/0" in said


def test_unknown_is_never_called_no() -> None:
    """The vulkaninfo file's coopmat and coopmat2: unknown in the table, `may lack` below."""
    result = run("--from", str(VULKANINFO), "--format", "csv")
    cells = dict(line.split(",") for line in result.output.splitlines())
    assert (cells["coopmat"], cells["coopmat2"], cells["scalar-f16"], cells["coopmat2-decode-vector"]) == (
        "unknown",
        "unknown",
        "yes",
        "no",
    )
    assert "lacks or may lack" in run("--from", str(VULKANINFO)).output


def test_records_carry_what_the_table_says() -> None:
    """`met` with null for unknown, missing conditions with source, and one choice per workload."""
    report = build([NVK])
    by_path = {r.path: r for r in gap_records(report, "run")}
    assert (by_path["coopmat"].met, by_path["coopmat2"].met) == (True, False)
    first = by_path["coopmat2"].missing[0]
    assert (first.kind, first.name, first.have) == ("extension", "VK_NV_cooperative_matrix2", False)
    assert first.source == "llama.cpp@b10249 ggml-vulkan.cpp:6510-6625"
    taken = {(c.op, c.type, c.n, c.k): c.path for c in choice_records(report, "run")}
    assert taken["gemm", "q4_k", 512, 4096] == "coopmat"
    assert taken["gemv", "q4_k", 1, 12288] == "intdot"


def test_a_choice_record_says_when_llama_cpp_does_not_list_the_device() -> None:
    """Lavapipe's choices begin with that; the table says it once."""
    assert all("drops CPU devices" in c.because for c in choice_records(build([LVP]), "run"))
    assert text(LVP).count("drops CPU devices") == 1


def test_path_puts_every_condition_beside_the_devices() -> None:
    """--path coopmat2: a row for each condition that some device fails, with the value it has, and no choices."""
    said = text(NVK, BMG, H200, paths=["coopmat2"], width=None)
    row = next(line for line in said.splitlines() if line.startswith("cooperativeMatrixFlexibleDimensionsMaxDimension"))
    assert row.split()[-3:] == ["no", "0", "yes"]
    assert "and 3 conditions that every device meets" in said
    assert "would take" not in said


def test_measurements_show_what_a_gap_costs() -> None:
    """NVIDIA-like records with coopmat and scalar cells price coopmat for a device without it."""
    records = list(sample())
    devices = [r for r in records if isinstance(r, DeviceRecord)]
    results = [r for r in records if isinstance(r, ResultRecord)]
    report = build([*devices, recorded("turnip-750")], results)
    (gap,) = [g for g in gap_records(report, "run") if g.device == "turnip:750/0" and g.path == "coopmat"]
    price = gap.prices[0]
    assert (price.measured_on, price.to_path) == ("nvidia/0", "coopmat")
    assert price.ratio > 1
    said = " ".join(as_text(report, "table", width=120).split())
    assert f"worth {price.ratio:.1f}x in {price.op} {price.type}" in said
    assert f"(coopmat in place of {price.from_path}, measured on nvidia/0" in said
    assert "worth" not in text(recorded("turnip-750"))


def test_measurements_in_a_file_are_those_of_its_device(tmp_path: Path) -> None:
    """--from run.jsonl: its results count under the id that the file's device gets."""
    path = tmp_path / "run.jsonl"
    kept = [r for r in sample() if isinstance(r, (RunRecord, ResultRecord)) or (isinstance(r, DeviceRecord) and r.device == "nvidia/0")]
    path.write_bytes(b"".join(encode(r) + b"\n" for r in kept))
    turnip = file_of(tmp_path / "turnip.jsonl", recorded("turnip-750"))
    result = run("--from", str(path), "--from", turnip)
    assert result.exit_code == 0
    assert "on file:run/0" in " ".join(result.output.split())


def test_a_baseline_comes_first_with_what_others_lack() -> None:
    """The H200's coopmat2 leads the rows and NVK's list; what neither has comes after."""
    report = build([NVK, H200], baseline="H200")
    assert report.sides[0].device is H200
    won = [need.path for need in report.needs[:8]]
    assert "coopmat2" in won
    assert "bf16" in won
    assert won.index("coopmat2") < [need.path for need in report.needs].index("dot2")
    said = as_text(report, "table")
    mine = said[said.index("nvk:172/0 (NVK") :]
    assert mine.index("  coopmat2:") < mine.index("  dot2:")
    assert "nvidia/0 has it" in mine


def test_a_baseline_that_is_none_is_a_usage_error() -> None:
    """The error lists the devices."""
    with pytest.raises(UsageError, match="nvk:172/0"):
        build([NVK], baseline="radv")


@pytest.mark.parametrize(
    ("required", "status", "says"),
    [
        (["scalar-f16"], 0, ""),
        (["coopmat"], 1, "not known of file:vulkaninfo-nvidia-h200-580.159.04/0, which counts as not met"),
        (["float8", "scalar-f16"], 1, "does not meet it: VK_EXT_shader_float8 not listed"),
    ],
)
def test_require_is_a_condition(required: list[str], status: int, says: str) -> None:
    """The status is 1 if a path isn't surely met; an unknown path counts as not met, and the message says that it is unknown."""
    options = [word for path in required for word in ("--require", path)]
    result = run("--from", str(VULKANINFO), *options)
    assert result.exit_code == status
    assert says in result.stderr


def test_an_unknown_path_is_refused_before_anything_else() -> None:
    """A typing error in --require or --path names the paths that there are, even where the file is bad too."""
    for option in ("--require", "--path"):
        result = run("--from", "/nowhere.json", option, "coopmat3")
        assert isinstance(result.exception, UsageError)
        assert "coopmat2" in str(result.exception)


def test_output_is_appended_as_records(tmp_path: Path) -> None:
    """-o: run, device, gap and choice records that a reader takes."""
    out = tmp_path / "gaps.jsonl"
    result = run("--from", str(RECORDED / "caps-nvk-172.jsonl"), "-o", str(out), "--json")
    assert result.exit_code == 0
    kinds = {type(r).__name__ for r in read_records(out)}
    assert kinds == {"RunRecord", "DeviceRecord", "GapRecord", "ChoiceRecord"}
    assert result.stdout == out.read_text()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    """Tables split and lists fold."""
    devices = [recorded(name) for name in ("lvp", "nvk-172", "radv-gfx1201", "turnip-750", "anv-bmg", "nvidia-h200")]
    said = text(*devices, width=width) + "\n" + text(*devices, width=width, paths=["coopmat2", "coopmat-maintenance1"])
    long = [line for line in said.splitlines() if len(line) > width]
    assert not long


def test_markdown_has_headings_and_lists() -> None:
    """Reports and issues use them."""
    said = text(NVK, form="md")
    assert "### nvk:172/0 (NVK; NVK 26.1" in said
    assert "- coopmat2: no" in said
    assert "1. no coopmat2" in said


def test_every_report_has_a_side_for_each_device() -> None:
    """Devices are in the order asked for if no baseline is named."""
    report: Gaps = build([BMG, NVK])
    assert [side.device.device for side in report.sides] == ["anv:bmg/0", "nvk:172/0"]
