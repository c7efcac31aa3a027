"""Inline SVG: bars that compare paths and drivers, and strips of every sample of a cell. Colours come from the page's style."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape
from msgspec import Struct

from vkprobe.records import Time
from vkprobe.units import seconds


class Bar(Struct, frozen=True, kw_only=True):
    """One bar: `value` is its length on the chart's scale, None where there is only a status to show."""

    label: str
    text: str
    value: float | None
    style: str
    title: str = ""


class BarGroup(Struct, frozen=True, kw_only=True):
    """Bars of one device under a heading. Groups with `own_scale` are not compared with the others."""

    heading: str
    bars: Sequence[Bar]
    own_scale: bool = False


_WIDTH, _LABEL, _VALUE, _ROW, _HEAD = 640, 190, 150, 19, 24


def bar_chart(groups: Sequence[BarGroup]) -> Markup:
    """Horizontal bars by group, from zero; groups share one linear scale unless they have their own."""
    shared = max((b.value for g in groups if not g.own_scale for b in g.bars if b.value), default=0.0)
    room = _WIDTH - _LABEL - _VALUE
    y, parts = 0, []
    for group in groups:
        top = max((b.value for b in group.bars if b.value), default=0.0) if group.own_scale else shared
        heading = group.heading + (" (own scale)" if group.own_scale else "")
        parts.append(f'<text class="head" x="0" y="{y + 16}">{escape(heading)}</text>')
        y += _HEAD
        for bar in group.bars:
            length = 0.0 if not bar.value or not top else max(1.5, room * bar.value / top)
            title = f"<title>{escape(bar.title)}</title>" if bar.title else ""
            parts.append(
                f'<g>{title}<text class="label" x="{_LABEL - 8}" y="{y + 13}">{escape(bar.label)}</text>'
                + (
                    f'<rect class="{escape(bar.style)}" x="{_LABEL}" y="{y + 3}" width="{length:.1f}" height="13" rx="2"/>'
                    if length
                    else ""
                )
                + f'<text class="value {escape(bar.style)}" x="{_LABEL + length + 6:.1f}" y="{y + 13}">{escape(bar.text)}</text></g>'
            )
            y += _ROW
        y += 6
    return Markup(f'<svg class="bars" viewBox="0 0 {_WIDTH} {y}" role="img">{"".join(parts)}</svg>')


class Stack(Struct, frozen=True, kw_only=True):
    """How a device's pipelines ended: (label, count, style) in order, those without any left out."""

    heading: str
    parts: Sequence[tuple[str, int, str]]


_STACKS_WIDTH, _SUMMARY = 900, 360


def stacked_bars(stacks: Sequence[Stack]) -> Markup:
    """One bar for each stack on a common scale of counts, its parts side by side, each as wide as its count and listed behind the bar."""
    most = max((sum(count for _, count, _ in stack.parts) for stack in stacks), default=0)
    room = _STACKS_WIDTH - _LABEL - _SUMMARY
    rows = []
    for index, stack in enumerate(stacks):
        y, x = index * _ROW, float(_LABEL)
        cells = [f'<text class="label" x="{_LABEL - 8}" y="{y + 13}">{escape(stack.heading)}</text>']
        for label, count, style in stack.parts:
            width = room * count / max(most, 1)
            cells.append(
                f'<rect class="{escape(style)}" x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="13">'
                f"<title>{escape(stack.heading)}: {count} {escape(label)}</title></rect>"
            )
            x += width
        summary = ", ".join(f"{count} {label}" for label, count, _ in stack.parts)
        cells.append(f'<text class="value" x="{x + 6:.1f}" y="{y + 13}">{escape(summary)}</text>')
        rows.append(f"<g>{''.join(cells)}</g>")
    height = len(stacks) * _ROW + 6
    return Markup(f'<svg class="bars stacks" viewBox="0 0 {_STACKS_WIDTH} {height}" role="img">{"".join(rows)}</svg>')


_STEP_MIN_SPAN = 0.02
"""The least height of a strip, as a part of the median: noise of 0.1 % must not look like noise of 10 %."""


def strip(time: Time, width: int = 300, height: int = 46) -> Markup:
    """Every sample of a cell in order: settling hollow on the left, then round by round; band = ci95, line = median.

    Height is time per dispatch, low is fast. Settling has a scale of its own, in which its plateaus are seen.
    """
    settle, samples, median = time.settle_samples_s, time.samples_s, time.median_s
    if not samples or not median > 0:
        return Markup("")
    low, high = min(*samples, median, time.ci95_s[0]), max(*samples, median, time.ci95_s[1])
    slack = max(0.0, _STEP_MIN_SPAN * median - (high - low)) / 2 + 0.05 * (high - low)
    low, high = low - slack, high + slack
    pad = 4.0
    step = (width - 2 * pad) / max(1, len(settle) + len(samples) + (1 if settle else 0))

    def x(index: float) -> float:
        return pad + step * (index + 0.5)

    def y(value: float, top: float = high) -> float:
        return height - pad - (height - 2 * pad) * (max(value, low) - low) / (top - low)

    first = len(settle) + (1 if settle else 0)
    parts = []
    start = 0
    for end in range(1, len(samples) + 1):
        if end == len(samples) or _round(time, end) != _round(time, start):
            left, right = pad + step * (first + start), pad + step * (first + end)
            parts.append(
                f'<rect class="round{_round(time, start) % 2}" x="{left:.1f}" y="0" width="{right - left:.1f}" height="{height}"/>'
            )
            start = end
    left = pad + step * first
    band_top, band_bottom = y(time.ci95_s[1]), y(time.ci95_s[0])
    parts.append(
        f'<rect class="ci" x="{left:.1f}" y="{band_top:.1f}" width="{width - pad - left:.1f}" height="{band_bottom - band_top:.1f}"/>'
    )
    parts.append(f'<path class="median" d="M{left:.1f} {y(median):.1f}H{width - pad:.1f}"/>')
    parts.append(_dots("settling", [(x(i), y(v, max(high, *settle))) for i, v in enumerate(settle)]))
    parts.append(_dots("samples", [(x(first + i), y(v)) for i, v in enumerate(samples)]))
    title = f"{len(samples)} samples in {len(set(time.rounds)) or 1} rounds, {seconds(min(samples))} to {seconds(max(samples))}"
    return Markup(f'<svg class="strip" viewBox="0 0 {width} {height}" role="img"><title>{escape(title)}</title>{"".join(parts)}</svg>')


def _round(time: Time, index: int) -> int:
    return time.rounds[index] if index < len(time.rounds) else 0


def _dots(style: str, points: Sequence[tuple[float, float]]) -> str:
    """All points as one path of round caps: a tenth of the size of as many circles."""
    return f'<path class="{style}" d="{"".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)}"/>' if points else ""
