"""Vulkan's validation layer has nothing to say of the ladder's features."""

from __future__ import annotations

import msgspec
import pytest

from tests.drivers.test_null_compile import null
from tests.drivers.test_validation import complaints, layer
from vkprobe.bench.device import open_request
from vkprobe.bench.ladder_features import feature_climbs
from vkprobe.drivers.launch import Worker
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather

__all__ = ["layer"]  # the fixture


@pytest.mark.parametrize("name", ["lvp", "nvk:172", "turnip:750"])
def test_features_are_valid(name: str, embedded: dict[str, DriverSpec], layer: dict[str, str]) -> None:
    """Compiled on null devices, and run on lavapipe. RADV and ANV have types that the layer is too old for."""
    spec = null(name) if ":" in name else embedded[name]
    (device,) = gather([spec], "run").devices
    climbs = [c for c in feature_climbs(device) if c.verb]
    request = open_request(device, [r for c in climbs for r in c.requirements])
    with Worker(spec, layer) as worker:
        executes = worker.request("open", timeout=300, **msgspec.to_builtins(request))["executes"]
        for climb in climbs:
            worker.request(climb.verb, timeout=300, progress=lambda told: None, execute=executes, **climb.arguments)
            assert complaints(layer) == [], climb.feature
