"""One fault has one exit status, whichever verb meets it; and the doctor does not call missing hardware a failure."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.pure.sample_records import nvidia
from vkprobe.cli import drivers as drivers_cli
from vkprobe.cli import main
from vkprobe.cli.devices import status_of
from vkprobe.cli.main import cli
from vkprobe.drivers.probe import Device, DriverOutcome
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import Gathered
from vkprobe.ops.plan import in_words
from vkprobe.records import DriverRecord, DriverState, Host, RunRecord, encode
from vkprobe.requirements.model import Missing

DEVICE = Device(index=0, name="x", type="cpu", api="1.4", driver_id=None, vendor_id=None, device_id=None)


def driver(name: str, state: DriverState, remedy: str | None = None) -> DriverOutcome:
    """The outcome of a driver."""
    devices = [DEVICE] if state == "ok" else []
    return DriverOutcome(spec=DriverSpec(name=name, icd=f"{name}.json"), state=state, reason="a reason", remedy=remedy, devices=devices)


@pytest.mark.parametrize(
    ("states", "from_file", "status"),
    [("error", False, 5), ("no-device", False, 5), ("error", True, 4), ("error ok", False, 4), ("no-device", True, 0), ("ok", False, 0)],
)
def test_the_highest_status_that_applies(states: str, from_file: bool, status: int) -> None:
    """No usable device at all is 5, a file's counted; a driver that was asked for and failed 4."""
    drivers = [driver("a", state) for state in states.split()]  # type: ignore[arg-type]
    devices = [nvidia()] if from_file or "ok" in states else []
    assert status_of(Gathered(drivers=drivers, devices=devices), asked=True) == status


def test_a_null_device_that_is_none_has_one_status_in_every_verb(tmp_path: Path) -> None:
    """`caps --diff` of two such ends as `caps` of one."""
    runner = CliRunner()
    alone = runner.invoke(cli, ["caps", "--null", "radv:nosuch"])
    pair = runner.invoke(cli, ["caps", "--diff", "radv:nosuch", "radv:nosuch"])
    assert alone.exit_code == 5
    assert getattr(pair.exception, "status", pair.exit_code) == 5


@pytest.mark.parametrize(("verb", "status"), [("bisect-step", 128), ("compare", 70)])
def test_a_verb_that_cannot_be_imported_is_no_bad_commit(monkeypatch: pytest.MonkeyPatch, verb: str, status: int) -> None:
    """git takes 1 to 127 for bad: of its own command a broken installation ends the bisection instead."""
    monkeypatch.setitem(main.VERBS, verb, ("vkprobe.cli.nowhere:verb", ""))
    monkeypatch.setattr(sys, "argv", ["vkprobe", verb])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == status


def test_a_file_in_which_nothing_was_compiled_says_why(tmp_path: Path) -> None:
    """The driver's reason is in it; `compare` gives it."""
    path = tmp_path / "old.jsonl"
    run = RunRecord(run="r", tool="vkprobe", argv=[], host=Host(cpu=None, os=None, kernel=None), environment={})
    failed = DriverRecord(run="r", driver="radv:nosuch", icd=None, state="error", reason="no such chip")
    path.write_bytes(encode(run) + b"\n" + encode(failed) + b"\n")
    error = CliRunner().invoke(cli, ["compare", str(path), str(path)]).exception
    assert "nothing was compiled or measured in it: radv:nosuch: no such chip" in str(error)


def test_the_doctor_folds_missing_hardware_into_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems with a remedy are shown in full; the summary counts the three states separately."""
    there = [driver("lvp", "ok"), driver("radeon", "no-device"), driver("intel", "no-device"), driver("nvk", "no-device", "join a group")]
    monkeypatch.setattr(drivers_cli, "_find", lambda choice: [*there, driver("broken", "error")])
    monkeypatch.setattr(drivers_cli, "_finish", lambda drivers, choice: None)
    text = CliRunner().invoke(cli, ["drivers", "doctor"]).output
    assert "no hardware here, so nothing to do: radeon, intel\n" in text
    assert "1 works, 3 have no device here, 1 in error." in text
    assert "join a group" in text
    assert text.count("why:") == 2


def test_a_tuple_that_is_missing_is_reported_once() -> None:
    """Its name has all that is needed; beside it stands what there is."""
    missing = Missing(kind="tuple", name="3x3x3 f16,f16->f32", need="m 3, n 3, k 3, a f16", have="16x16x16 f16,f16->f32", source="s")
    assert in_words([missing]) == "needs 3x3x3 f16,f16->f32; the device lists 16x16x16 f16,f16->f32"
