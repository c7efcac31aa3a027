"""Facts of several drivers where some fail, and where records come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from vkprobe import facts
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerLost
from vkprobe.protocol import Facts
from vkprobe.records import SCHEMA, DeviceRecord, encode
from vkprobe.results.provenance import device_record, run_record
from vkprobe.results.store import read_records

RECORDED = Path(__file__).parent.parent / "recorded"
LVP = DriverSpec(name="embedded:lvp", icd="/x/lvp_icd.json")
FLEXIBLE = "vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV"


def _reply() -> list[dict[str, Any]]:
    """A worker's reply, made from a recorded device."""
    (device,) = (r for r in read_records(RECORDED / "caps-lvp.jsonl") if isinstance(r, DeviceRecord))
    record = msgspec.json.decode(encode(device))
    return [{**record, "index": 0, "notes": []}]


class Workers:
    """Stands for ask_all: gives each request's answer in turn, and keeps what was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, requests: list[tuple[DriverSpec, Facts]], *, timeout: float, parallel: int) -> list[Any]:
        """The next answer for each request; `skip` is copied as it is now."""
        self.asked += [(spec.name, {"skip": list(request.skip)}) for spec, request in requests]
        return [self.answers.pop(0) for _ in requests]


def _crash(query: str | None) -> WorkerLost:
    return WorkerLost("crash", "killed by SIGSEGV", signal="SIGSEGV", stderr_tail="boom", during=query)


def test_a_query_that_crashes_the_driver_is_left_out_and_the_rest_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is asked again without that query; the crash is an event and a note."""
    workers = Workers(_crash(FLEXIBLE), _reply())
    monkeypatch.setattr(facts, "ask_all", workers)
    gathered = facts.gather([LVP], "run")
    assert workers.asked == [("embedded:lvp", {"skip": []}), ("embedded:lvp", {"skip": [FLEXIBLE]})]
    assert [d.device for d in gathered.devices] == ["embedded:lvp/0"]
    assert [(e.what, e.where, e.signal) for e in gathered.events] == [("crash", FLEXIBLE, "SIGSEGV")]
    assert FLEXIBLE in gathered.notes[0]
    assert gathered.drivers[0].state == "ok"


def test_a_driver_that_crashes_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After three queries that crash it, it counts as failed, with the query in the reason."""
    workers = Workers(*(_crash(f"VkPhysicalDevice{n}Features") for n in range(4)))
    monkeypatch.setattr(facts, "ask_all", workers)
    gathered = facts.gather([LVP], "run")
    assert len(workers.asked) == 4
    assert gathered.drivers[0].state == "error"
    assert "VkPhysicalDevice3Features" in str(gathered.drivers[0].reason)
    assert gathered.devices == []


@pytest.mark.parametrize("query", [None, "vkCreateInstance", "vkEnumeratePhysicalDevices"])
def test_a_crash_before_any_device_is_not_tried_again(monkeypatch: pytest.MonkeyPatch, query: str | None) -> None:
    """Nothing is left to ask of a driver that crashes while it is loaded."""
    workers = Workers(_crash(query))
    monkeypatch.setattr(facts, "ask_all", workers)
    gathered = facts.gather([LVP], "run")
    assert len(workers.asked) == 1
    assert gathered.events == []
    assert "crashed" in str(gathered.drivers[0].reason)


def test_a_driver_with_a_known_fault_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fault is its reason; the good one beside it is asked, and order is kept."""
    workers = Workers(_reply())
    monkeypatch.setattr(facts, "ask_all", workers)
    broken = DriverSpec(name="broken", icd="/x/broken.json", fault="not JSON", remedy="mend it")
    gathered = facts.gather([broken, LVP], "run")
    assert [(f.spec.name, f.state, f.reason) for f in gathered.drivers] == [("broken", "error", "not JSON"), ("embedded:lvp", "ok", None)]
    assert [name for name, _ in workers.asked] == ["embedded:lvp"]


def test_a_null_devices_record_has_the_chip_that_was_asked_for() -> None:
    """Shims report one name and one id for many chips; there is no kernel module below them."""
    reply = _reply()[0]
    reply["driver"]["kernel_module"] = "nouveau"
    spec = DriverSpec(name="radv:navi31@trixie", icd="/x/radeon_icd.json", null=True)
    record = device_record("run", spec, reply)
    assert (record.device, record.null, record.hardware.chip) == ("radv:navi31@trixie/0", True, "navi31")
    assert record.driver.kernel_module is None
    assert record.driver.icd == "/x/radeon_icd.json"


def test_device_records_survive_the_file() -> None:
    """Encoding and decoding a record of facts, non-finite floats included, changes nothing."""
    reply = _reply()[0]
    reply["properties"]["VkPhysicalDeviceProperties"]["limits"]["timestampPeriod"] = "inf"
    record = device_record("run", LVP, reply)
    assert msgspec.json.decode(encode(record), type=DeviceRecord) == record


def test_the_run_records_variables_that_change_drivers_and_no_others() -> None:
    """Names of the contract, any *_DEBUG and *_PERFTEST, Mesa options in lower case; nothing of the user's own."""
    relevant = {"VK_DRIVER_FILES": "x", "RADV_PERFTEST": "y", "GGML_VK_DISABLE_COOPMAT": "1", "radv_cooperative_matrix2_nv": "true"}
    relevant |= {"__GL_SHADER_DISK_CACHE": "0", "LD_PRELOAD": "z", "LP_NUM_THREADS": "2", "FOO_DEBUG": "1"}
    own = {"HOME": "/home/me", "PATH": "/bin", "API_TOKEN": "secret", "LANG": "C", "OLD_VK_DRIVER_FILES": "x"}
    run = run_record(["/somewhere/bin/vkprobe", "caps"], {**relevant, **own})
    assert run.environment == relevant
    assert run.argv == ["vkprobe", "caps"]
    assert run.schema == SCHEMA == 2
    assert run.run != run_record([""], {}).run
