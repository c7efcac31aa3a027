"""Scaling for print."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vkprobe import units


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.seconds(0), "0 ns"),
        (units.seconds(1.5e-9), "1.50 ns"),
        (units.seconds(0.9996e-3), "1.00 ms"),
        (units.seconds(125.0), "125 s"),
        (units.flops_per_s(0.0), "0 FLOP/s"),
        (units.seconds(0.9994e-3), "999 us"),
        (units.flops_per_s(999.9e9), "1.00 TFLOP/s"),
        (units.bytes_per_s(88.3e6), "88.3 MB/s"),
        (units.size(1023), "1023 B"),
        (units.size(1 << 20), "1.00 MiB"),
        (units.significant(math.inf), "inf"),
        (units.significant(-0.00123456), "-0.00123"),
    ],
)
def test_values_print_in_the_unit_that_reads_best(text: str, expected: str) -> None:
    """Three digits, never an exponent."""
    assert text == expected


@given(st.floats(1e-12, 1e18))
def test_three_digits_are_kept(value: float) -> None:
    """The printed value is within half a percent and has no exponent."""
    text = units.significant(value)
    assert "e" not in text
    assert float(text) == pytest.approx(value, rel=0.0051)
