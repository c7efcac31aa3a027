"""A device's identity: host and environment make columns of their own, and identical cards are paired by UUID, then PCI address."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from tests.pure.sample_records import RUN, at, device, nvidia, pipeline, result
from vkprobe.builds import build_key
from vkprobe.cli.compare import compare as compare_verb
from vkprobe.compare.compare import compare
from vkprobe.records import AnyRecord, DeviceRecord, Host, ResultRecord, RunRecord, encode
from vkprobe.report.matrix import build
from vkprobe.report.text import as_text
from vkprobe.results.exports import pytest_benchmark
from vkprobe.results.exports.cells import exported
from vkprobe.results.keys import device_key
from vkprobe.results.provenance import driver_environment
from vkprobe.results.store import Store, done

UUID = ("aa" * 16, "bb" * 16)


def run_of(run: str = RUN, *, cpu: str = "EPYC", environment: dict[str, str] | None = None, second: int = 0) -> RunRecord:
    """A run's record."""
    host = Host(cpu=cpu, os="Debian", kernel="6.12")
    return RunRecord(run=run, at=at(second), tool="vkprobe", argv=[], host=host, environment=environment or {})


def on(run: str, median: float = 1e-3, *, second: int = 10) -> list[AnyRecord]:
    """A device with one cell in a run."""
    return [nvidia(run, second), replace(result(run=run, second=second), time=replace(_time(), median_s=median, samples_s=[median] * 24))]


def _time() -> Any:
    return result().time


def card(index: int, uuid: str | None, pci: str | None, run: str = RUN) -> DeviceRecord:
    """One of two identical cards."""
    base = device(f"nvidia/{index}", run=run)
    properties = {**base.properties, **({"VkPhysicalDeviceIDProperties": {"deviceUUID": uuid}} if uuid else {})}
    return replace(base, properties=properties, hardware=replace(base.hardware, pci=pci))


def timed(index: int, seconds: float, run: str = RUN) -> ResultRecord:
    """A cell of a card."""
    time = replace(_time(), median_s=seconds, samples_s=[seconds * (1 + 1e-4 * (i % 5)) for i in range(24)], ci95_s=(seconds, seconds))
    return replace(result(f"nvidia/{index}", run=run), time=time)


def write(path: Path, *records: AnyRecord) -> Path:
    """A record file."""
    path.write_bytes(b"".join(encode(r) + b"\n" for r in records))
    return path


VARIABLE = {"RADV_PERFTEST": "cswave32"}


def test_two_hosts_in_one_file_are_two_columns() -> None:
    """The same card is at the same address in both; the host's CPU distinguishes them."""
    store = Store([run_of("a", cpu="EPYC"), *on("a"), run_of("b", cpu="Xeon"), *on("b", 2e-3)])
    matrix = build(store)
    assert [c.id for c in matrix.columns] == ["nvidia/0 EPYC", "nvidia/0 Xeon"]
    assert "nvidia/0 Xeon" in as_text(matrix)


def test_a_debug_variable_makes_another_column() -> None:
    """The label has the variable, and that it is unset on the other."""
    store = Store([run_of("a"), *on("a"), run_of("b", environment=VARIABLE), *on("b", 2e-3)])
    assert [c.id for c in build(store).columns] == ["nvidia/0 RADV_PERFTEST unset", "nvidia/0 RADV_PERFTEST=cswave32"]


def test_a_driver_s_own_variable_counts_as_the_run_s() -> None:
    """It stands in the device's record and overrides the run's."""
    plain, debug = nvidia("a"), replace(nvidia("a"), environment=VARIABLE)
    assert device_key(plain, run_of("a")) != device_key(debug, run_of("a"))
    assert device_key(debug, run_of("a")) == device_key(plain, run_of("a", environment=VARIABLE))


@pytest.mark.parametrize(
    "name",
    [
        *("VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES", "NV_CUDNN_VERSION", "NV_LIBNPP_PACKAGE", "MESA_SHADER_CACHE_DIR"),
        *(
            "__GL_SHADER_DISK_CACHE_PATH",
            "MESA_SHADER_CACHE_DISABLE",
            "MESA_LOG_LEVEL",
            "VK_LOADER_DEBUG",
            "GIT_COMMIT",
            "GGML_VK_VISIBLE_DEVICES",
        ),
    ],
)
def test_variables_that_leave_the_driver_as_it_is_do_not_count(name: str) -> None:
    """Choosing a driver, caches, logging and llama.cpp's own variables."""
    assert driver_environment({name: "x", **VARIABLE}) == VARIABLE


@pytest.mark.parametrize("other", [run_of("now", environment=VARIABLE), run_of("now", cpu="Xeon")])
def test_another_host_or_environment_has_done_nothing(tmp_path: Path, other: RunRecord) -> None:
    """Resuming skips only what was measured under the same conditions."""
    finished = done(
        write(tmp_path / "a.jsonl", run_of(), nvidia(), result(), pipeline("nvidia/0", "k", "coopmat", "f16", registers=1, spills=0))
    )
    cell = result().cell, build_key(result())
    assert (device_key(nvidia("now"), run_of("now")), *cell) in finished.cells
    assert (device_key(nvidia("now"), other), *cell) not in finished.cells
    assert device_key(nvidia("now"), run_of("now")) in {key for key, *_ in finished.pipelines}
    assert device_key(nvidia("now"), other) not in {key for key, *_ in finished.pipelines}


@pytest.mark.parametrize("second", [run_of("b", cpu="Xeon"), run_of("b", environment=VARIABLE)])
def test_exports_keep_both_columns(second: RunRecord) -> None:
    """Two benchmarks, whose names differ."""
    cells = exported(Store([run_of("a"), *on("a"), second, *on("b", 2e-3)]))
    names = [b["fullname"] for b in json.loads(pytest_benchmark.encode(cells))["benchmarks"]]
    assert len(set(names)) == len(names) == 2


def test_columns_of_one_card_are_compared_with_their_like() -> None:
    """Each column with and without a variable is compared with its counterpart, so nothing is slower."""
    file: list[AnyRecord] = [run_of("a"), *on("a"), run_of("b", environment=VARIABLE), *on("b", 3e-3)]
    comparison = compare(Store(file), Store(file))
    assert [(pair.old, pair.new) for pair in comparison.devices] == [
        ("nvidia/0 [RADV_PERFTEST unset]", "nvidia/0 [RADV_PERFTEST unset]"),
        ("nvidia/0 [RADV_PERFTEST=cswave32]", "nvidia/0 [RADV_PERFTEST=cswave32]"),
    ]
    assert {cell.verdict for cell in comparison.cells} == {"same"}


@pytest.mark.parametrize(
    ("cards", "identity"),
    [
        ([(UUID[0], "0000:01:00.0"), (UUID[1], "0000:02:00.0")], "deviceUUID"),
        ([(UUID[0], None), (UUID[1], None)], "deviceUUID"),
        ([(None, "0000:01:00.0"), (None, "0000:02:00.0")], "PCI address"),
    ],
)
def test_identical_cards_are_paired_by_identity_though_their_order_swaps(
    tmp_path: Path, cards: list[tuple[str | None, str | None]], identity: str
) -> None:
    """The slow card is slow in both files: nothing is slower, and a note says that the index disagrees."""
    old = write(tmp_path / "old.jsonl", run_of(), card(0, *cards[0]), card(1, *cards[1]), timed(0, 1e-3), timed(1, 3e-3))
    new = write(tmp_path / "new.jsonl", run_of(), card(0, *cards[1]), card(1, *cards[0]), timed(0, 3e-3), timed(1, 1e-3))
    outcome = CliRunner().invoke(compare_verb, [str(old), str(new), "--fail-on", "slower:5%"])
    assert outcome.exit_code == 0, outcome.output
    text = " ".join(outcome.output.split())
    assert f"nvidia/0 of {old} is nvidia/1 of {new} by its {identity}" in text
    assert "slower" not in text.replace("--fail-on slower", "")


def test_without_identity_cards_are_paired_by_index(tmp_path: Path) -> None:
    """The driver reports neither UUID nor address, so only the ids are left."""
    records: list[AnyRecord] = [run_of(), card(0, None, None), card(1, None, None), timed(0, 1e-3), timed(1, 3e-3)]
    comparison = compare(Store(records), Store(records))
    assert [(pair.old, pair.new) for pair in comparison.devices] == [("nvidia/0", "nvidia/0"), ("nvidia/1", "nvidia/1")]
    assert not any("index" in note for note in comparison.notes)


def test_a_card_that_is_gone_is_missing_whatever_its_index() -> None:
    """The one left moved up to index 0."""
    old = Store([run_of(), card(0, UUID[0], None), card(1, UUID[1], None), timed(0, 1e-3), timed(1, 3e-3)])
    new = Store([run_of(), card(0, UUID[1], None), timed(0, 3e-3)])
    comparison = compare(old, new)
    assert [(pair.old, pair.new) for pair in comparison.devices] == [("nvidia/1", "nvidia/0")]
    assert [one.device for one in comparison.missing] == ["nvidia/0"]


def test_two_drivers_of_one_card_have_uuids_of_their_own() -> None:
    """An update whose UUID differs is the same card: the newest record of each cell counts, with a note."""
    updated = replace(card(0, UUID[1], "0000:01:00.0", run="b"), driver=replace(nvidia().driver, version="590"))
    records: list[AnyRecord] = [run_of(), run_of("b"), card(0, UUID[0], "0000:01:00.0"), timed(0, 1e-3), updated, timed(0, 1e-3, run="b")]
    comparison = compare(Store(records), Store(records))
    assert len(comparison.devices) == 1
    assert any("holds 2 drivers" in note for note in comparison.notes)
