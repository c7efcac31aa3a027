"""Record files: what is read, refused, skipped, resumed and appended."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.pure.sample_records import RUN, at, device, lavapipe, nvidia, pipeline, result, sample
from vkprobe.builds import build_key
from vkprobe.errors import UsageError
from vkprobe.records import AnyRecord, ResultRecord, encode
from vkprobe.report.matrix import build
from vkprobe.report.text import as_text
from vkprobe.results.keys import device_key, pipeline_key
from vkprobe.results.store import Appender, Store, done, read_records


def write(path: Path, *records: AnyRecord, tail: bytes = b"") -> Path:
    """A record file, with `tail` after the last whole line."""
    path.write_bytes(b"".join(encode(r) + b"\n" for r in records) + tail)
    return path


def refuse(path: Path, pattern: str) -> None:
    """Reading the file ends in one sentence that names it."""
    with pytest.raises(UsageError, match=pattern) as caught:
        list(read_records(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Every record of the sample comes back equal."""
    records = sample()
    assert list(read_records(write(tmp_path / "a.jsonl", *records))) == records


def test_standard_input_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads records from stdin."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(encode(nvidia()) + b"\n")))
    assert [r.run for r in read_records("-")] == [RUN]


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (b"", "no records"),
        (b"\n\n", "no records"),
        (b"hello\n", "line 1: not JSON"),
        (b"\x00\xff\x7fELF\x02" * 100, "line 1: not JSON"),
        (b"[1, 2]\n", "line 1.*array"),
        (b'{"a": 1}\n', "line 1: an object without `kind`"),
        (b'{"kind": 5}\n', "line 1"),
        (b'{"kind": "benchmark", "name": "x"}\n', "line 1: of the unknown kind 'benchmark'"),
        (b'{"kind": "result", "run": "x"}\n', "line 1: not a valid result record"),
        (b'{"kind":"run","more":' + b"[" * 100_000 + b"\n", "line 1: nested too deeply"),
        (b'{"kind":"device","run":"x","features":' + b'{"a":' * 100_000 + b"\n", "line 1: nested too deeply"),
        (b'{\n  "capabilities": {}\n}\n', "line 1: not JSON"),
    ],
)
def test_a_file_of_something_else_is_refused_in_one_sentence(tmp_path: Path, content: bytes, pattern: str) -> None:
    """The sentence names the file, the line and what was expected."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    refuse(path, pattern)


def test_the_line_of_a_bad_record_is_named(tmp_path: Path) -> None:
    """The third line is no record: the first two do not help."""
    refuse(write(tmp_path / "a.jsonl", nvidia(), result(), tail=b"oops\n" + encode(result()) + b"\n"), "line 3: not JSON")


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A huge line is not read to its end."""
    monkeypatch.setattr("vkprobe.results.store._MAX_LINE_BYTES", 1000)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"kind":"' + b"x" * 5000)
    refuse(path, "line 1: longer than")


def test_missing_and_unreadable_files_are_usage_errors(tmp_path: Path) -> None:
    """No such file; a folder."""
    refuse(tmp_path / "none.jsonl", "No such file")
    refuse(tmp_path, "Is a directory")


@pytest.mark.parametrize("cut", [3, 9, 20, 200])
def test_a_torn_last_line_is_skipped(tmp_path: Path, cut: int) -> None:
    """A killed process may stop anywhere; whole lines count."""
    path = write(tmp_path / "a.jsonl", nvidia(), tail=encode(result())[:cut])
    assert len(list(read_records(path))) == 1


@pytest.mark.parametrize("cut", [3, 9, 20, 200])
def test_a_torn_line_that_was_ended_is_skipped_where_it_stands(tmp_path: Path, cut: int) -> None:
    """An appender ends a torn line; the file stays readable."""
    path = write(tmp_path / "a.jsonl", nvidia(), tail=encode(result())[:cut])
    with Appender(path) as out:
        out.append(result(second=20))
    assert [type(r).__name__ for r in read_records(path)] == ["DeviceRecord", "ResultRecord"]


def test_files_merge_by_cat_though_the_first_ends_torn(tmp_path: Path) -> None:
    """The torn line and the next file's first record share a line: the record counts."""
    path = write(tmp_path / "a.jsonl", nvidia(), tail=encode(result())[:100] + encode(lavapipe()) + b"\n" + encode(result()) + b"\n")
    assert [r.kind for r in map(_head, read_records(path))] == ["device", "device", "result"]


class _Head(msgspec.Struct):
    kind: str


def _head(record: AnyRecord) -> _Head:
    return msgspec.json.decode(encode(record), type=_Head)


def test_kinds_and_fields_of_newer_versions_are_passed_over(tmp_path: Path) -> None:
    """A record of an unknown kind with a run is skipped; an unknown field of a known one is ignored."""
    extra: dict[str, Any] = {**json.loads(encode(result())), "new_field": {"x": 1}}
    newer = b'{"kind":"prophecy","run":"r","at":"t","rung":"runs"}\n' + json.dumps(extra).encode() + b"\n"
    path = write(tmp_path / "a.jsonl", nvidia(), tail=newer)
    assert len(list(read_records(path))) == 2


@pytest.mark.parametrize("number", ["inf", "-inf", "nan"])
def test_non_finite_numbers_are_strings(tmp_path: Path, number: str) -> None:
    """`"inf"` is read where a number stands."""
    record: dict[str, Any] = json.loads(encode(result()))
    record["flops_per_s"] = record["check"]["max_abs"] = record["time"]["timestamp_period_ns"] = number
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(record) + "\n")
    (read,) = read_records(path)
    assert isinstance(read, ResultRecord)
    assert repr(read.flops_per_s) == repr(float(number))


def test_the_newest_record_of_a_cell_counts(tmp_path: Path) -> None:
    """The order of the files doesn't matter."""
    old, new = result(second=10, status="crash", reason="x"), result(second=20)
    a, b = write(tmp_path / "a.jsonl", nvidia(), new), write(tmp_path / "b.jsonl", nvidia(), old)
    for files in ([a, b], [b, a]):
        (cell,) = Store.load(files).results.values()
        assert cell.status == "ok"


def test_another_driver_version_is_another_device() -> None:
    """The same cell before and after a driver update is two cells."""
    update = device("nvidia/0", version="590", run="later", second=30)
    store = Store([nvidia(), result(), update, result(run="later", second=31)])
    assert len(store.devices) == len(store.results) == 2


def test_a_result_without_its_device_record_keeps_its_name() -> None:
    """Its device record may be in a file that was not given."""
    ((key, _),) = Store([result("lost/0")]).results
    assert (key.device, key.driver) == ("lost/0", None)


def test_resuming_leaves_out_what_is_done(tmp_path: Path) -> None:
    """Done cells and pipelines are found under the key of the device as it is now."""
    path = write(tmp_path / "a.jsonl", nvidia(), result(), pipeline("nvidia/0", "k", "coopmat", "f16", registers=1, spills=0))
    finished = done(path)
    assert (device_key(nvidia(run="now", second=99), None), result().cell, build_key(result())) in finished.cells
    assert [key for _, key, *_ in finished.pipelines] == [("k", "coopmat", "f16", "128x128x32", 32)]
    assert pipeline_key(pipeline("nvidia/0", "k", "coopmat", "f16", registers=9, spills=9)) in {k for _, k, *_ in finished.pipelines}


def test_a_changed_kernel_has_done_nothing(tmp_path: Path) -> None:
    """A number that another module or tile gave does not stand for the cell any more."""
    finished = done(write(tmp_path / "a.jsonl", nvidia(), result()))
    for change in ({"spirv_sha": "other"}, {"tile": "64x64"}, {"subgroup_size": 16}):
        assert build_key(msgspec.structs.replace(result(), **change)) not in {key for _, _, key in finished.cells}


def test_an_interrupted_cell_is_measured_again(tmp_path: Path) -> None:
    """It has a number, but not the rounds that it was to have."""
    cut = msgspec.structs.replace(result(), interrupted=True)
    assert not done(write(tmp_path / "a.jsonl", nvidia(), cut)).cells


@pytest.mark.parametrize(
    ("status", "is_done"),
    [("ok", True), ("unsupported", True), ("wrong", True), ("noop", True), ("crash", False), ("timeout", False), ("device-lost", False)],
)
def test_lost_cells_are_measured_again(tmp_path: Path, status: Any, is_done: bool) -> None:
    """Crash, timeout and device-lost are no final answers, even after an older ok."""
    path = write(tmp_path / "a.jsonl", nvidia(), result(), result(status=status, reason="x", second=40))
    assert bool(done(path).cells) is is_done


@pytest.mark.parametrize("change", [{"version": "590"}, {"build_id": "other"}, {"info": "590.1"}, {"driver": "NVK"}, {"name": "nvidia/1"}])
def test_a_changed_driver_has_done_nothing(tmp_path: Path, change: dict[str, str]) -> None:
    """Name, version, build id, info and the device's id are part of who measured."""
    before = device("nvidia/0")
    finished = done(write(tmp_path / "a.jsonl", before, result()))
    changed = device(**{"name": "nvidia/0", **change})  # type: ignore[arg-type]
    assert (device_key(before, None), result().cell, build_key(result())) in finished.cells
    assert (device_key(changed, None), result().cell, build_key(result())) not in finished.cells


def test_nothing_is_done_where_there_is_no_file(tmp_path: Path) -> None:
    """A first run starts from nothing; so does one with an empty file."""
    assert not done(tmp_path / "none.jsonl").cells
    (tmp_path / "empty.jsonl").touch()
    assert not done(tmp_path / "empty.jsonl").cells


def test_an_appender_adds_to_records(tmp_path: Path) -> None:
    """Earlier content stays, byte for byte."""
    path = write(tmp_path / "a.jsonl", nvidia())
    before = path.read_bytes()
    with Appender(path) as out:
        out.append(result())
        assert path.read_bytes() == before + encode(result()) + b"\n"  # on disk before close


def test_an_appender_refuses_a_file_that_holds_something_else(tmp_path: Path) -> None:
    """The file stays as it was."""
    path = tmp_path / "notes.txt"
    path.write_text("my notes")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        Appender(path)
    assert path.read_text() == "my notes"


@pytest.mark.parametrize("where", ["missing/folder/a.jsonl", "."])
def test_a_path_that_cannot_be_written_fails_before_any_work(tmp_path: Path, where: str) -> None:
    """It fails when the appender opens, not when the first result comes."""
    with pytest.raises(UsageError, match=r"can't be written|is a folder"):
        Appender(tmp_path / where)


def test_times_sort_as_text() -> None:
    """The sample's own clock helper keeps the order that records rely on."""
    assert at(5) < at(59) < at(60)


def old_line(record: ResultRecord, **fields: Any) -> bytes:
    """A result as schema 1 wrote it."""
    data: dict[str, Any] = json.loads(encode(record))
    axes = data.pop("axes")
    data = {**data, "m": axes.get("m", 1), "n": axes.get("n", 1), "k": axes.get("k", 1), **fields}
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def test_results_of_both_schemas_are_one_cell(tmp_path: Path) -> None:
    """`cat` of an old file and a new one: the newest counts, whatever schema it is of."""
    path = write(tmp_path / "a.jsonl", nvidia(), tail=old_line(result(second=10, median=2e-3)) + encode(result(second=20)) + b"\n")
    store = Store.load([path])
    ((key, cell),) = store.results
    assert cell == result().cell
    assert len(store.measured[key, cell]) == 2


def test_a_copy_of_schema_1_has_a_mode_and_no_variant_that_it_has_not(tmp_path: Path) -> None:
    """Its kernel said what copied; its bytes are its axis."""
    made_up = {"op": "copy", "kernel": "copy_device", "path": "transfer", "type": "f32", "accumulator": "f32", "k": 1024}
    path = write(tmp_path / "a.jsonl", nvidia(), tail=old_line(result(), **made_up))
    (copied,) = Store.load([path]).results.values()
    assert (copied.axes, copied.mode, copied.path, copied.tier) == ({"bytes": 4096}, "device", None, None)


def test_an_op_of_a_newer_version_is_read_and_shown(tmp_path: Path) -> None:
    """Its axes in plain words."""
    newer = msgspec.structs.replace(result(), op="softmax", axes={"rows": 4, "cols": 32})
    (record,) = Store.load([write(tmp_path / "a.jsonl", nvidia(), newer)]).results.values()
    assert record.axes == {"rows": 4, "cols": 32}
    assert "rows=4 cols=32" in as_text(build(Store([nvidia(), newer])))
