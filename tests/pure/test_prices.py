"""The price of a gap compares the device's path with the gap closed and the path that llama.cpp takes on it today."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from tests.pure.recorded_devices import recorded
from tests.pure.sample_records import nvidia, result
from vkprobe.records import DeviceRecord, PriceRecord
from vkprobe.report.gaps import build, gap_records
from vkprobe.report.prices import Paths, baseline_of, in_words, prices
from vkprobe.requirements import requirement
from vkprobe.requirements.model import Requirement
from vkprobe.results.store import Store

H200_FILE = "reports/2026-11-28-nvidia-h200.jsonl"


def paths(today: str, then: str) -> Paths:
    """One path today and another with the gap closed, whatever the gap."""

    def now(device: DeviceRecord, op: str, kind: str, axes: Mapping[str, int]) -> str | None:
        return today

    def later(device: DeviceRecord, need: Requirement, op: str, kind: str, axes: Mapping[str, int]) -> str | None:
        return then

    return Paths(now, later)


def gaps_of(name: str) -> dict[str, list[PriceRecord]]:
    """The prices of a recorded device's gaps, by path, measured on the H200's report."""
    store = Store.load([H200_FILE])
    (h200,) = store.devices.values()
    report = build([recorded(name), h200], [replace(r, run=h200.run) for r in store.results.values()])
    return {g.path: g.prices for g in gap_records(report, "run") if g.device == recorded(name).device}


def test_a_price_is_the_mean_of_both_paths_on_the_baseline() -> None:
    """Four and nine times as fast: six."""
    results = [
        result(path="coopmat", median=1e-3),
        result(path="scalar-f16", median=4e-3),
        result(path="coopmat", shape=(4096, 512, 4096), median=1e-3),
        result(path="scalar-f16", shape=(4096, 512, 4096), median=9e-3),
        result(path="scalar-f32", accumulator="f32", median=1.0),
    ]
    (price,) = prices(recorded("turnip-750"), requirement("coopmat"), [baseline_of(nvidia(), results)], paths("scalar-f16", "coopmat"))
    assert price.ratio == pytest.approx(6.0)
    assert (price.from_path, price.to_path, price.measured_on, price.workloads) == ("scalar-f16", "coopmat", "nvidia/0", 2)


def test_a_path_that_was_not_measured_has_no_price() -> None:
    """A gap that changes nothing has none either."""
    baseline = [baseline_of(nvidia(), [result(path="coopmat"), result(path="scalar-f16", median=4e-3)])]
    turnip, need = recorded("turnip-750"), requirement("coopmat")
    assert prices(turnip, need, baseline, paths("dot2", "coopmat")) == []
    assert prices(turnip, need, baseline, paths("coopmat", "coopmat")) == []


def test_only_llama_cpp_s_accumulator_counts() -> None:
    """f16 products accumulate in f16; a slow f32 cell is no measure."""
    results = [
        result(path="coopmat", median=1e-3),
        result(path="scalar-f16", median=4e-3),
        result(path="coopmat", accumulator="f32", median=1e-6),
    ]
    (price,) = prices(recorded("turnip-750"), requirement("coopmat"), [baseline_of(nvidia(), results)], paths("scalar-f16", "coopmat"))
    assert price.ratio == pytest.approx(4.0)


def test_coopmat_is_worth_what_turnip_would_gain_by_it() -> None:
    """It isn't worth what it would be beside coopmat2, which turnip lacks too."""
    gap_prices = gaps_of("turnip-750")
    products = [price for price in gap_prices["coopmat"] if price.op == "gemm"]
    assert len(products) > 5
    assert all(price.to_path == "coopmat" and 1.5 <= price.ratio <= 8 for price in products)
    assert gap_prices["coopmat-fa"] == []  # the gain is coopmat's


def test_bf16_has_a_price() -> None:
    """Without bf16 its products are promoted to f32; a driver that adds it to its matrices adds their tuples too."""
    gap_prices = gaps_of("nvk-172")
    for path in ("bf16", "coopmat-bf16"):
        (price,) = gap_prices[path]
        assert (price.type, price.from_path, price.to_path) == ("bf16", "scalar-f32", "coopmat")
        assert price.ratio == pytest.approx(3.95, abs=0.01)


def test_prices_read_as_a_sentence() -> None:
    """With many types only the highest and the lowest are named."""
    one = PriceRecord(op="gemm", type="bf16", ratio=3.95, from_path="scalar-f32", to_path="coopmat", measured_on="h/0", workloads=1)
    assert in_words([one]) == "worth 4.0x in gemm bf16 (coopmat in place of scalar-f32, measured on h/0, 1 workload)"
    many = [replace(one, type=f"q{i}", ratio=9.0 - i) for i in range(4)]
    assert in_words(many).startswith("worth 9.0x in gemm q0 to 6.0x in gemm q3, 4 types (")
