"""Two files of records: what pairs, what differs, what the verdict is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tests.pure.sample_records import RUN, device, null_nvk, null_radv, pipeline, result
from vkprobe.compare.compare import compare
from vkprobe.compare.conditions import Condition, met, parse
from vkprobe.compare.model import VERDICTS, Alone, Change, Compared, Comparison
from vkprobe.errors import UsageError
from vkprobe.records import AnyRecord, DeviceRecord, PipelineRecord
from vkprobe.report.compare import as_text
from vkprobe.results.store import Store

RADV = "radv:gfx1201/0"
RAW = {"VGPRs": 96, "Spilled VGPRs": 0, "Spilled SGPRs": 0, "Instructions": 1204, "Latency": 500, "Hash": 1, "Driver pipeline hash": 2}


def radv_pipeline(kernel: str = "gemm_f16_scalar_f32", raw: dict[str, Any] | None = None, **changed: Any) -> PipelineRecord:
    """A pipeline of the null RADV device."""
    record = pipeline(RADV, kernel, "coopmat" if "coopmat" in kernel else "scalar-f32", "f16", registers=96, spills=0, matrix=0)
    record = msgspec.structs.replace(record, raw={**RAW, **(raw or {})})
    return msgspec.structs.replace(record, **changed)


def against(old: Sequence[AnyRecord], new: Sequence[AnyRecord], **options: Any) -> Comparison:
    """Files of the null RADV device."""
    return compare(Store([null_radv(), *old]), Store([null_radv(), *new]), **options)


def verdict(old: AnyRecord | None, new: AnyRecord | None) -> str:
    """The verdict on one record, beside others that are the same."""
    other = radv_pipeline("dequant_q4_0")
    (cell,) = (
        c for c in against([other, *([old] if old else [])], [other, *([new] if new else [])]).cells if c.record.kernel != "dequant_q4_0"
    )
    return cell.verdict


def test_hashes_and_times_are_no_difference() -> None:
    """They identify a shader or depend on the machine."""
    assert verdict(radv_pipeline(), radv_pipeline(raw={"Hash": 7, "Driver pipeline hash": 8, "Source hash": 9}, compile_s=9.0)) == "same"


def test_any_other_difference_is_one() -> None:
    """A latency that differs by one is named with both values; a statistic in normal form isn't listed raw as well."""
    (cell,) = against([radv_pipeline()], [radv_pipeline(raw={"Latency": 501})]).cells
    assert (cell.verdict, cell.changes) == ("changed", (Change("Latency", 500, 501),))
    (cell,) = against([radv_pipeline()], [radv_pipeline(raw={"VGPRs": 97}, registers=97)]).cells
    assert cell.changes == (Change("registers", 96, 97),)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"spills": 40}, "worse"),
        ({"instructions": 1300}, "worse"),  # 8 %
        ({"instructions": 1250}, "changed"),  # 4 %
        ({"instructions": 1100}, "better"),
        ({"registers": 200}, "changed"),
        ({"spills": 1, "instructions": 900}, "worse"),
        ({"spills": None}, "changed"),
        ({"subgroup_size": 64}, "changed"),
        ({"status": "crash", "reason": "killed by SIGABRT"}, "crash"),
        ({"status": "timeout"}, "crash"),
        ({"status": "unsupported"}, "missing"),
        ({"tile": "another"}, None),
    ],
)
def test_verdicts_of_a_pipeline(changed: dict[str, Any], expected: str | None) -> None:
    """More spills, or over 5 % more instructions, is worse, whatever else got better."""
    if expected is None:  # another tile is another pipeline
        cells = against([radv_pipeline()], [radv_pipeline(**changed)]).cells
        assert [c.verdict for c in cells] == ["missing", "appeared"]
    else:
        assert verdict(radv_pipeline(), radv_pipeline(**changed)) == expected


def test_fewer_spills_are_better_and_lost_matrix_instructions_worse() -> None:
    """A kernel is worse if its matrix instructions are gone."""
    assert verdict(radv_pipeline(spills=9), radv_pipeline(spills=3)) == "better"
    kernel = "gemm_f16_coopmat_acc_f16"
    assert verdict(radv_pipeline(kernel, matrix_instructions=32), radv_pipeline(kernel, matrix_instructions=0)) == "worse"


def test_the_worst_comes_first() -> None:
    """Most spills gained, then most instructions; what is better after it."""
    olds = [radv_pipeline(k) for k in ("a_1", "b_2", "c_3", "d_4")]
    news = [
        radv_pipeline("a_1", instructions=1100),
        radv_pipeline("b_2", spills=4),
        radv_pipeline("c_3", spills=40),
        radv_pipeline("d_4", instructions=2000),
    ]
    assert [c.record.kernel for c in against(olds, news).cells] == ["c_3", "b_2", "d_4", "a_1"]


def test_a_path_that_is_gone_is_missing_once_for_each_tile() -> None:
    """Unsupported without a tile stands for all tiles that there were; the reason goes with it."""
    kernel = "gemm_f16_coopmat_acc_f16"
    gone = radv_pipeline(kernel, tile=None, status="unsupported", reason="the device lists none", subgroup_size=64)
    cells = against([radv_pipeline(kernel, tile="l 1"), radv_pipeline(kernel, tile="m 1")], [gone]).cells
    assert [(c.verdict, c.reason) for c in cells] == [("missing", "the device lists none")] * 2
    assert [c.verdict for c in against([gone], [radv_pipeline(kernel, tile="l 1"), radv_pipeline(kernel, tile="m 1")]).cells] == [
        "appeared"
    ] * 2
    assert [c.verdict for c in against([gone], [gone]).cells] == ["same"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("ok", "ok", "same"),
        ("ok", "wrong", "wrong"),
        ("wrong", "wrong", "wrong"),
        ("ok", "device-lost", "crash"),
        ("ok", "unsupported", "missing"),
        ("noop", "noop", "same"),
        ("unsupported", "ok", "status"),
        ("crash", "ok", "status"),
        ("ok", None, "missing"),
        (None, "ok", "appeared"),
        (None, "wrong", "wrong"),
    ],
)
def test_verdicts_of_a_measured_cell(old: Any, new: Any, expected: str) -> None:
    """Only the statuses count, unless both are ok; then the times do."""
    assert verdict(old and result(RADV, status=old), new and result(RADV, status=new)) == expected


def driver(base: DeviceRecord, name: str, version: str) -> DeviceRecord:
    """The same hardware under another driver."""
    return msgspec.structs.replace(base, device=name, driver=msgspec.structs.replace(base.driver, name=version, version=version))


def test_pairing_is_by_hardware() -> None:
    """Another driver's name, id and version: the same chip."""
    other = driver(null_radv(), "radv:gfx1201@trixie/0", "25.0.7")
    comparison = compare(
        Store([other, msgspec.structs.replace(radv_pipeline(), device=other.device)]),
        Store([null_radv(), radv_pipeline(registers=80), null_nvk()]),
    )
    assert [(p.old, p.new) for p in comparison.devices] == [("radv:gfx1201@trixie/0", RADV)]
    assert [c.verdict for c in comparison.cells] == ["changed"]


def test_two_drivers_of_one_card_are_not_mixed_up() -> None:
    """If both files hold both drivers, those with the same id are paired, whatever their versions."""
    card = device("nvidia/0", chip="GH100")
    nvk = driver(card, "nouveau/0", "26.1")
    both: list[AnyRecord] = [card, nvk, result("nvidia/0", status="ok"), result("nouveau/0", status="wrong")]
    comparison = compare(Store(both), Store([driver(card, "nvidia/0", "590"), *both[1:]]))
    assert [(p.old, p.new) for p in comparison.devices] == [("nvidia/0", "nvidia/0"), ("nouveau/0", "nouveau/0")]
    assert sorted((c.device, c.verdict) for c in comparison.cells) == [("nouveau/0", "wrong"), ("nvidia/0", "same")]


def test_a_device_of_one_file_only_is_reported() -> None:
    """It is missing, with its number of records, and the others are compared."""
    other: list[AnyRecord] = [null_nvk(), *(msgspec.structs.replace(radv_pipeline(k), device="nvk:172/0") for k in ("x_1", "x_2"))]
    comparison = against([radv_pipeline(), *other], [radv_pipeline()])
    assert comparison.missing == (Alone("nvk:172/0", 2),)
    assert met(comparison, parse("missing")) == ["missing (2: all of nvk:172/0)"]
    assert against([radv_pipeline()], [radv_pipeline(), *other]).appeared == (Alone("nvk:172/0", 2),)


def test_the_newest_record_of_a_cell_counts() -> None:
    """One file holds two runs; a note says that a device ran under two driver versions."""
    later = msgspec.structs.replace(radv_pipeline(registers=80), run="later", at="2027-01-01T00:00:00.000Z")
    newer = msgspec.structs.replace(driver(null_radv(), RADV, "27.0"), run="later")
    comparison = against([radv_pipeline()], [radv_pipeline(), newer, later])
    assert comparison.cells[0].changes[0] == Change("registers", 96, 80)
    assert comparison.notes == ("NEW holds 2 drivers of radv:gfx1201/0 (radv 26.1.6, 27.0 27.0): the newest record of each cell counts",)


def test_other_hardware_is_not_compared() -> None:
    """A sentence that names what each file holds."""
    other = msgspec.structs.replace(radv_pipeline(), device="nvk:172/0")
    with pytest.raises(UsageError, match=r"nothing to compare: a holds radv:gfx1201/0 .*; b holds nvk:172/0 .*paired by hardware"):
        compare(Store([null_radv(), radv_pipeline()]), Store([null_nvk(), other]), names=("a", "b"))


def test_a_file_without_cells_is_refused() -> None:
    """Facts alone can't be compared here."""
    with pytest.raises(UsageError, match="b: holds no pipeline and no result records"):
        compare(Store([null_radv(), radv_pipeline()]), Store([null_radv()]), names=("a", "b"))


def test_conditions_are_parsed() -> None:
    """Words, some with a share."""
    assert parse("slower:2.5%, wrong,worse:10") == [Condition("slower", 0.025), Condition("wrong"), Condition("worse", 0.1)]


@pytest.mark.parametrize("text", ["faster", "slower:", "slower:x", "slower:-5%", "wrong:5%", "", ",", "slower:5%,nonsense", "slower:nan%"])
def test_bad_conditions_are_refused(text: str) -> None:
    """A sentence that says what there is."""
    with pytest.raises(UsageError, match="--fail-on"):
        parse(text)


@pytest.mark.parametrize(
    ("outcome", "condition", "expected"),
    [
        ("worse", "worse", True),
        ("worse", "changed", True),
        ("worse", "slower:5%", False),
        ("changed", "worse", False),
        ("changed", "changed", True),
        ("better", "changed", True),
        ("unjudged", "slower:0%", False),
        ("wrong", "wrong", True),
        ("crash", "crash", True),
        ("missing", "missing", True),
        ("appeared", "slower,worse,changed,wrong,crash,missing,unexpected", False),
        ("same", "slower,worse,changed,wrong,crash,missing", False),
    ],
)
def test_conditions_are_met_by_their_verdicts_only(outcome: Any, condition: str, expected: bool) -> None:
    """Statistics are no times: `slower` does not fail on them."""
    assert outcome in VERDICTS
    cell = Compared(device=RADV, verdict=outcome, old=radv_pipeline(), new=radv_pipeline())
    assert bool(met(Comparison(devices=(), cells=(cell,)), parse(condition))) is expected


def test_the_share_of_worse_is_the_user_s() -> None:
    """3.8 % more instructions against 5 % and 2 %."""
    more = radv_pipeline(instructions=1250)
    assert against([radv_pipeline()], [more]).cells[0].verdict == "changed"
    assert against([radv_pipeline()], [more], threshold=0.02).cells[0].verdict == "worse"


def test_runs_are_no_difference() -> None:
    """The sample's own run against itself under another run's id."""
    other = msgspec.structs.replace(null_radv(), run="other")
    again = msgspec.structs.replace(radv_pipeline(), run="other")
    assert RUN != "other"
    assert compare(Store([null_radv(), radv_pipeline()]), Store([other, again])).cells[0].verdict == "same"


def test_hosts_whose_devices_have_one_id_are_distinguished() -> None:
    """Records joined by `cat`: each card is compared with itself, under its own name."""
    files = []
    for slower in (1.0, 1.5):
        one, other = device("nvidia/0", run="one", chip="gh100"), device("nvidia/0", run="two", chip="ad102")
        files.append(Store([one, other, result(run="one"), result(run="two", median=1e-3 * slower)]))
    comparison = compare(*files)
    assert [d.new for d in comparison.devices] == ["nvidia/0 [gh100]", "nvidia/0 [ad102]"]
    assert {c.device: c.verdict for c in comparison.cells} == {"nvidia/0 [gh100]": "same", "nvidia/0 [ad102]": "slower"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"spirv_sha": "a"}, {"spirv_sha": "b"}),
        ({"robust": None}, {"robust": True}),
        ({"robust": True}, {"robust": None}),
        ({"float_controls": None}, {"float_controls": ("RoundingModeRTE 16",)}),
    ],
)
def test_pipelines_of_another_vkprobe_are_not_judged(old: dict[str, Any], new: dict[str, Any]) -> None:
    """With another module, bounds checks or float controls the driver isn't the only difference; the reason is printed."""
    left, right = (msgspec.structs.replace(radv_pipeline(registers=r), **fields) for r, fields in ((80, old), (96, new)))
    comparison = against([left], [right])
    assert [(c.verdict, c.changes) for c in comparison.cells] == [("unjudged", ())]
    assert met(comparison, parse("worse,changed")) == []
    assert f"1 not judged: {comparison.cells[0].because}" in " ".join(as_text(comparison, "table").split())
    checked = [msgspec.structs.replace(radv_pipeline(registers=r), robust=checks) for r, checks in ((80, False), (96, True))]
    assert [c.verdict for c in against(checked[:1], checked[1:]).cells] == ["changed"]  # both record it: the driver's own difference
    moded = [
        msgspec.structs.replace(radv_pipeline(registers=r), float_controls=controls)
        for r, controls in ((80, ()), (96, ("DenormPreserve 16",)))
    ]
    assert [c.verdict for c in against(moded[:1], moded[1:]).cells] == ["changed"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"registers": 192, "occupancy": 8.0, "instructions": 1000}, "mixed"),
        ({"registers": 80, "code_bytes": 20000}, "mixed"),
        ({"registers": 80, "instructions": 1000, "occupancy": 12.0}, "better"),
        ({"registers": 192, "occupancy": 8.0, "instructions": 1000, "spills": 3}, "worse"),
        ({"registers": 192, "occupancy": 8.0}, "changed"),
    ],
)
def test_statistics_that_moved_both_ways_are_mixed(changed: dict[str, Any], expected: str) -> None:
    """More registers at lower occupancy are no improvement because instructions fell; spills are worse all the same."""
    before = radv_pipeline(occupancy=10.0)
    (cell,) = against([before], [msgspec.structs.replace(before, **changed)]).cells
    assert cell.verdict == expected


def test_mixed_is_worse_than_changed_and_fails_on_changed_only() -> None:
    """Its place among the verdicts, and the conditions that it meets."""
    order = list(VERDICTS)
    assert order.index("worse") < order.index("mixed") < order.index("changed")
    before = radv_pipeline(occupancy=10.0)
    comparison = against([before], [msgspec.structs.replace(before, registers=192, instructions=1000)])
    assert not met(comparison, parse("worse"))
    assert met(comparison, parse("changed"))
