"""Facts of many driver and chip pairs, gathered with no more processes than there are pairs."""

from __future__ import annotations

from typing import Any

import pytest

from vkprobe.drivers import null
from vkprobe.drivers.launch import Worker
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather

CHIPS = "radv:vega20,navi10,navi21,navi31,gfx1201,nvk:162,172,turnip:660,740,750"


def specs(*suffixes: str) -> list[DriverSpec]:
    """Ten null devices, once for each suffix; a name of its own for each."""
    chips = [null.resolve(name) for name in null.parse(CHIPS)]
    return [
        DriverSpec(**{**{f: getattr(s, f) for f in s.__struct_fields__}, "name": s.name + suffix}) for suffix in suffixes for s in chips
    ]


def test_forty_driver_and_chip_pairs_take_one_process_each(embedded: dict[str, DriverSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts are complete after one start of a worker for each: what their gathering costs."""
    del embedded
    started: list[str] = []
    start = Worker.__init__

    def counted(self: Worker, spec: DriverSpec, *rest: Any) -> None:
        started.append(spec.name)
        start(self, spec, *rest)

    monkeypatch.setattr(Worker, "__init__", counted)
    facts = gather(specs("", "-b", "-c", "-d"), "run")
    assert [d.reason for d in facts.drivers if d.state != "ok"] == []
    assert len(facts.devices) == 40
    assert all(len(d.properties) > 20 and d.coopmat.khr is not None for d in facts.devices)
    assert len(started) == len(set(started)) == 40
