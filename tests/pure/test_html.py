"""The HTML report: one self-contained, well-formed page that holds everything, whatever strings the records hold."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from tests.pure.sample_records import device, nvidia, result, sample, timing
from vkprobe.records import AnyRecord, EventRecord, encode
from vkprobe.report.charts import Bar, BarGroup, bar_chart, strip
from vkprobe.report.html import as_html
from vkprobe.report.matrix import build
from vkprobe.results.store import Store

VOID = {"meta", "br", "link", "hr", "img", "input", "wbr"}
SELF_CLOSED = {"rect", "path"}


class Balance(HTMLParser):
    """Counts elements and checks that each is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: dict[str, int] = {}
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember the element and what it points to."""
        self.seen[tag] = self.seen.get(tag, 0) + 1
        for name, value in attrs:
            if name in ("href", "src", "xlink:href", "action") and value:
                self.links.append(value)
            if name == "id" and value:
                self.ids.add(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that closes itself."""
        self.seen[tag] = self.seen.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        """Must close the innermost open element."""
        assert self.open
        assert self.open.pop() == tag


def page(*records: AnyRecord, baseline: str | None = None) -> str:
    """The page of some records."""
    return as_html(build(Store(records), baseline=baseline))


def parsed(text: str) -> Balance:
    """The page, checked for balance."""
    parser = Balance()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def test_the_page_is_balanced_and_self_contained() -> None:
    """Every element closed; no script, and no link but to its own parts, all of which exist."""
    document = parsed(page(*sample(), baseline="nvidia"))
    assert "script" not in document.seen
    assert document.links
    assert all(link.startswith("#") and link[1:] in document.ids for link in document.links)


def test_nothing_is_loaded_from_elsewhere() -> None:
    """No URL, import or font in style or markup."""
    assert re.search(r"https?:|@import|url\(|//[a-z]", page(*sample())) is None


def test_everything_of_the_sample_is_on_the_page() -> None:
    """Identity, failures, reasons, what is missing, the failed driver, the event, provenance."""
    text = page(*sample())
    for part in (
        *("NVIDIA H200", "580.159.04", "abc123", "0000:17:00.0", "gfx1201", "WRONG", "CRASH"),
        *("3 of 2097152 elements differ", "cooperativeMatrixWorkgroupScope off", "cannot open shared object file"),
        *(
            "page fault at 0x10",
            "MESA_SHADER_CACHE_DISABLE=1",
            "AMD EPYC 9654",
            "run --quick -o run.jsonl",
            "442",
            "mean nothing absolute",
        ),
    ):
        assert part in text, part


def test_each_measured_cell_has_its_samples() -> None:
    """One strip in the table and one with numbers, for each ok cell."""
    assert page(*sample()).count('<svg class="strip"') == 2 * 44


def test_hostile_strings_are_text() -> None:
    """Names and reasons come from drivers: markup in them is shown, not run."""
    evil = '"><script>alert(1)</script>&'
    events = EventRecord(run="r", device="x", what="crash", where=evil, stderr_tail=evil)
    text = page(device("x/0", title=evil, driver=evil), result("x/0", status="error", reason=evil), events)
    assert "<script" not in text
    assert "script" not in parsed(text).seen


def test_a_page_of_a_single_record_is_whole() -> None:
    """Sections without content are left out."""
    document = parsed(page(nvidia()))
    assert "samples" not in document.ids
    assert "missing" in document.ids


def test_bars_share_a_scale_unless_they_have_their_own() -> None:
    """The longest shared bar fills the room; half the value is half as long."""

    def bar(value: float | None) -> Bar:
        return Bar(label="l", text="t", value=value, style="p-coopmat")

    groups = [BarGroup(heading="a", bars=[bar(2.0), bar(1.0), bar(None)]), BarGroup(heading="b", bars=[bar(1e-6)], own_scale=True)]
    widths = [float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)"', bar_chart(groups))]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    assert widths == [widths[0], widths[1], widths[0]]


def test_a_strip_has_a_dot_for_each_sample_and_a_shade_for_each_round() -> None:
    """24 samples, 5 settling, 3 rounds."""
    svg = strip(timing(1e-3))
    samples = re.search(r'class="samples" d="([^"]*)"', svg)
    settling = re.search(r'class="settling" d="([^"]*)"', svg)
    assert samples
    assert settling
    assert (samples[1].count("M"), settling[1].count("M")) == (24, 5)
    assert len(re.findall(r'class="round[01]"', svg)) == 3


def test_quiet_samples_stay_in_the_middle_of_their_strip() -> None:
    """Noise of 0.001 % must not fill the height."""
    quiet = timing(1e-3)
    flat = type(quiet)(
        **{
            **{f: getattr(quiet, f) for f in quiet.__struct_fields__},
            "samples_s": [1e-3, 1.00001e-3] * 12,
            "median_s": 1e-3,
            "ci95_s": (1e-3, 1.00001e-3),
        }
    )
    match = re.search(r'class="samples" d="([^"]*)"', strip(flat))
    assert match
    heights = [float(y) for y in re.findall(r"M[\d.]+ ([\d.]+)h", match[1])]
    assert max(heights) - min(heights) < 1


@pytest.mark.parametrize("samples", [[], [0.0, 0.0]])
def test_degenerate_samples_give_no_strip_and_no_error(samples: list[float]) -> None:
    """No samples, or a clock that stood still."""
    time = timing(1e-3)
    broken = type(time)(
        **{**{f: getattr(time, f) for f in time.__struct_fields__}, "samples_s": samples, "median_s": 0.0, "ci95_s": (0.0, 0.0)}
    )
    assert strip(broken) == ""


def test_the_matrix_needs_neither_vulkan_nor_numpy(tmp_path: Path) -> None:
    """Reports are made on machines without drivers, and quickly."""
    records = tmp_path / "a.jsonl"
    records.write_bytes(b"".join(encode(r) + b"\n" for r in sample()))
    code = (
        "import sys; from vkprobe.cli.main import cli; "
        f"cli.main(['matrix', {str(records)!r}, '--html', {str(tmp_path / 'x.html')!r}], standalone_mode=False); "
        "sys.exit(bool({'vulkan', 'numpy'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_an_unsteady_cell_shows_the_median_of_each_round() -> None:
    """A cell that alternates between two speeds has no one value: both are on the page."""
    cell = result()
    assert cell.time
    fields = {f: getattr(cell.time, f) for f in cell.time.__struct_fields__}
    modes = {**fields, "samples_s": [669e-6] * 8 + [704e-6] * 8 + [669e-6] * 8, "median_s": 669e-6, "steady": False}
    text = page(nvidia(), msgspec.structs.replace(cell, time=type(cell.time)(**modes)))
    assert "by round 669 us, 704 us, 669 us" in text
