"""Facts of many driver and chip pairs, as fast as CI needs them."""

from __future__ import annotations

import time

from vkprobe.drivers import null
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather

CHIPS = "radv:vega20,navi10,navi21,navi31,gfx1201,nvk:162,172,turnip:660,740,750"


def specs(*suffixes: str) -> list[DriverSpec]:
    """Ten null devices, once for each suffix; a name of its own for each."""
    found = [null.resolve(name) for name in null.parse(CHIPS)]
    return [
        DriverSpec(**{**{f: getattr(s, f) for f in s.__struct_fields__}, "name": s.name + suffix}) for suffix in suffixes for s in found
    ]


def test_forty_driver_and_chip_pairs_take_less_than_20_s(embedded: dict[str, DriverSpec]) -> None:
    """Each in a worker of its own, facts complete; ten take less than 6 s."""
    del embedded
    begun = time.monotonic()
    found = gather(specs("", "-b", "-c", "-d"), "run")
    seconds = time.monotonic() - begun
    assert [d.reason for d in found.drivers if d.state != "ok"] == []
    assert len(found.devices) == 40
    assert all(len(d.properties) > 20 and d.coopmat.khr is not None for d in found.devices)
    assert seconds < 20, f"{seconds:.1f} s"
