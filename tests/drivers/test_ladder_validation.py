"""Vulkan's validation layer has nothing to say of the ladder's features."""

from __future__ import annotations

import pytest

from tests.drivers.test_null_compile import null
from tests.drivers.test_validation import complaints, layer
from vkprobe.drivers.launch import Worker
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.protocol import ClimbFeature, FeatureJob
from vkprobe.session.ladder_features import feature_climbs
from vkprobe.session.opening import open_request

__all__ = ["layer"]  # the fixture


@pytest.mark.parametrize("name", ["lvp", "nvk:172", "turnip:750"])
def test_features_are_valid(name: str, embedded: dict[str, DriverSpec], layer: dict[str, str]) -> None:
    """Compiled on null devices, and run on lavapipe. RADV and ANV have types that the layer is too old for."""
    spec = null(name) if ":" in name else embedded[name]
    (device,) = gather([spec], "run").devices
    climbs = [(c, c.job) for c in feature_climbs(device) if isinstance(c.job, FeatureJob)]
    assert climbs
    request = open_request(device, [r for c, _ in climbs for r in c.requirements])
    with Worker(spec, layer) as worker:
        executes = worker.request(request, timeout=300).executes
        for climb, job in climbs:
            worker.request(ClimbFeature(execute=executes, job=job), timeout=300, progress=lambda reached: None)
            assert complaints(layer) == [], climb.feature
