"""Files that commands write: nothing with content is overwritten, and faults are reported before measuring."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.pure.commands import Command, refused
from tests.pure.sample_records import sample
from vkprobe.cli.main import VERBS, cli
from vkprobe.cli.outputs import writable, write_report
from vkprobe.errors import UsageError
from vkprobe.records import encode


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a record file, a hard link and a symbolic link to it."""
    held = tmp_path / "a.jsonl"
    held.write_bytes(b"".join(encode(record) + b"\n" for record in sample()))
    (tmp_path / "hard.html").hardlink_to(held)
    (tmp_path / "soft.html").symlink_to("a.jsonl")
    return tmp_path


@pytest.mark.parametrize(
    "argv",
    [
        "matrix a.jsonl --html a.jsonl",
        "matrix a.jsonl --html ./a.jsonl",
        "matrix a.jsonl --html hard.html",
        "matrix a.jsonl --html soft.html",
        "run -o a.jsonl --html a.jsonl",
        "run -o new.jsonl --html ./new.jsonl",
        "run -o a.jsonl --html hard.html",
        "caps --from a.jsonl -o a.jsonl",
        "caps --diff a.jsonl/0 new.jsonl -o new.jsonl",
        "gaps --from a.jsonl -o soft.html",
        "profile --from a.jsonl -o a.jsonl",
        "compile -o new --isa new",
    ],
)
def test_an_output_that_is_another_file_of_the_command_is_refused(argv: str, folder: Path, command: Command) -> None:
    """The same path, another spelling, a link: one sentence, and the records are untouched."""
    before = (folder / "a.jsonl").read_bytes()
    assert "is the same file as" in refused(command(*argv.split()))
    assert (folder / "a.jsonl").read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == ["a.jsonl", "hard.html", "soft.html"]


@pytest.mark.parametrize("argv", ["run --html nope/x.html", "matrix a.jsonl --html nope/x.html", "profile --path coopmat -o nope/x.json"])
def test_a_report_that_cannot_be_written_is_reported_before_any_work(argv: str, folder: Path, command: Command) -> None:
    """No driver is started, no table printed."""
    assert "nope/x" in refused(command(*argv.split()))


def test_a_report_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    """A file that has the name of an unfinished report is not one."""
    neighbour = tmp_path / "x.html.part"
    neighbour.write_text("records")
    write_report(tmp_path / "x.html", "page")
    assert (neighbour.read_text(), (tmp_path / "x.html").read_text()) == ("records", "page")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_report_goes_through_a_link_and_not_over_a_device(tmp_path: Path) -> None:
    """A symbolic link stays one; a device is written to, not replaced."""
    (tmp_path / "soft.html").symlink_to("x.html")
    write_report(tmp_path / "soft.html", "page")
    assert (tmp_path / "soft.html").is_symlink()
    assert (tmp_path / "x.html").read_text() == "page"
    write_report(Path(os.devnull), "page")
    assert Path(os.devnull).is_char_device()
    with pytest.raises(UsageError, match="is a folder"):
        writable(tmp_path)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0", "1e300", "soon"])
@pytest.mark.parametrize("argv", ["gemm --time-limit", "run --compile-limit", "compile --compile-limit", "ladder --compile-limit"])
def test_a_limit_that_is_no_number_of_seconds_is_refused(argv: str, value: str, tmp_path: Path) -> None:
    """One sentence, before any driver is started."""
    result = CliRunner().invoke(cli, [*argv.split(), value], catch_exceptions=True)
    assert isinstance(result.exception, UsageError)
    assert f"{argv.split()[1]} {value}: expected a number of seconds from 0.1" in str(result.exception)


@pytest.mark.parametrize("argv", ["matrix a.jsonl", "caps --from a.jsonl/0 --json", "caps --from a.jsonl --json -o new.jsonl", "--help"])
def test_a_full_standard_output_is_a_sentence(argv: str, folder: Path) -> None:
    """Exit status 2; what went to -o stays."""
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "vkprobe", *argv.replace("a.jsonl/0", "a.jsonl").split()]
        done = subprocess.run(command, cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, timeout=600)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip() == "vkprobe: standard output can't be written: No space left on device"
    if "-o" in argv:
        assert (folder / "new.jsonl").read_text().count("\n") > 1


def test_a_page_is_written_after_the_table_also_where_nobody_reads_it(folder: Path) -> None:
    """`| head` ends the table, not the page."""
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "vkprobe", "matrix", "a.jsonl", "--html", "x.html"]
        subprocess.run(command, cwd=folder, stdout=full, stderr=subprocess.PIPE, timeout=600)
    assert (folder / "x.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("verb", ["gemm", "run", "compile", "ladder", "caps", "gaps", "drivers"])
def test_records_and_a_table_are_not_asked_for_at_once(verb: str) -> None:
    """--json beside --format json would be two things on one standard output."""
    result = CliRunner().invoke(cli, [verb, "--json", "--format", "csv"])
    assert "--json prints records, --format csv the table" in str(result.exception)


@pytest.mark.parametrize("verb", VERBS)
def test_help_writes_defaults_in_one_way(verb: str) -> None:
    """Two spaces before, no range that Click works out."""
    text = CliRunner().invoke(cli, [verb, "--help"], terminal_width=200).output
    assert not re.search(r"[^ \n] \[default", text)
    assert "x>=" not in text


@pytest.mark.parametrize("verb", ["gemm", "gemv", "dequant"])
def test_help_of_a_benchmark_begins_with_what_is_its_own(verb: str) -> None:
    """The options are in this order: what is measured, on which driver, for how long, to which file."""
    text = CliRunner().invoke(cli, [verb, "--help"], terminal_width=200).output
    places = [text.index(f"\n  {option}") for option in ("--type", "--path", "--shape", "--driver", "--time-limit", "-o", "--format")]
    assert places == sorted(places)
