"""Vulkan's validation layer has nothing to say of anything that measuring does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.drivers.test_null_compile import NULLS, null
from vkprobe.bench.cells import Selection, Shape, cells
from vkprobe.bench.device import open_request
from vkprobe.bench.peaks import copy_cells, peak_cells
from vkprobe.bench.resolve import resolve
from vkprobe.drivers.embedded import layer_folder
from vkprobe.drivers.launch import Worker
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.jobs import Job
from vkprobe.weights import WEIGHT_TYPES

SAMPLE: dict[str, Any] = {
    "dispatches": None, "least_samples": 2, "least_s": 0.0, "most_s": 1.0, "settle_s": 0.01, "warm_s": 0.01, "timeout_s": 60.0
}  # fmt: skip

_NEWER = {"dot2", "bf16", "e4m3", "e5m2"}
"""Paths and types of matrices and peaks that layers up to 1.4.309 do not know: VK_VALVE_shader_mixed_float_dot_product and its capability,
and the components of VK_KHR_shader_bfloat16 and VK_EXT_shader_float8. To such a layer a module that declares them is no SPIR-V."""

_ROWS = {
    96: [name for name, kind in WEIGHT_TYPES.items() if 96 % kind.elements == 0],
    256: [name for name, kind in WEIGHT_TYPES.items() if 96 % kind.elements],
}
"""K of a row, and the types measured with it: 96, which ends within a group of q8_1, where blocks allow that."""

_MISTAKEN = (
    # Structs newer than the layer.
    r"unknown VkStructureType",
    # A limit of flexible dimensions, 0 where there are none, held against KHR tuples too: the specification's text has said since
    # "if the cooperativeMatrixFlexibleDimensions feature is enabled" (Vulkan-Docs#2815, Vulkan-ValidationLayers#13069).
    r"MaxDimension-10167 .*scope: VK_SCOPE_SUBGROUP_KHR.*greater than cooperativeMatrixFlexibleDimensionsMaxDimension \(0\)",
)
"""What layers up to 1.4.309 say of valid use."""


@pytest.fixture
def layer(tmp_path: Path) -> dict[str, str]:
    """The environment that loads the validation layer; it logs to a file."""
    folder = layer_folder()
    if not (folder / "VkLayer_khronos_validation.json").is_file():
        pytest.skip("needs the validation layer: vkprobe drivers fetch --layers")
    return {
        "VK_LAYER_PATH": str(folder),
        "VK_INSTANCE_LAYERS": "VK_LAYER_KHRONOS_validation",
        "VK_KHRONOS_VALIDATION_DEBUG_ACTION": "VK_DBG_LAYER_ACTION_LOG_MSG",
        "VK_KHRONOS_VALIDATION_LOG_FILENAME": str(tmp_path / "log"),
        "VK_KHRONOS_VALIDATION_REPORT_FLAGS": "error,warn",
        "VK_KHRONOS_VALIDATION_ENABLE_MESSAGE_LIMIT": "false",
        "VK_KHRONOS_VALIDATION_VALIDATE_SYNC": "true",
    }


def complaints(layer: dict[str, str]) -> list[str]:
    """What the layer has said, but for what it is mistaken in."""
    log = Path(layer["VK_KHRONOS_VALIDATION_LOG_FILENAME"])
    messages = re.split(r"^(?=Validation )", log.read_text() if log.exists() else "", flags=re.M)
    return [m for m in messages if m.strip() and not any(re.search(p, m, flags=re.S) for p in _MISTAKEN)]


def told(job: Job) -> Any:
    """A job as the worker takes it, with an entry for the constant 3, which no kernel has.

    Layers up to 1.4.309 look a constant up at the index of its id among the entries, and then complain of other matrices
    than the kernel's; entries in which the two are the same are valid too.
    """
    constants = dict(job.constants)
    dense = [(i, constants.get(i, 0)) for i in range(max(constants, default=-1) + 1)]
    return msgspec.to_builtins(msgspec.structs.replace(job, constants=dense))


def session(spec: DriverSpec, layer: dict[str, str], *, execute: bool) -> list[str]:
    """Open, compile every kernel; prepare, sample and release some; what the layer says of it."""
    (device,) = gather([spec], "run").devices
    selections = [
        Selection(op="gemm", shapes=[Shape(45, 21, 96)], types=["q4_0", "f16"], tuples=("all",)),
        *(Selection(op="gemv", shapes=[Shape(37, 3, k)], types=types) for k, types in _ROWS.items()),
        *(Selection(op="dequant", shapes=[Shape(37, 1, k)], types=types) for k, types in _ROWS.items()),
    ]
    planned = [c for s in selections for c in cells(s, device) if c.path not in _NEWER] + copy_cells(device)
    planned += [c for c in peak_cells(device) if not {c.path, c.type} & _NEWER]
    resolved = [r for r in resolve(planned, device) if r.reason is None]
    request = open_request(device, [r.requirement for r in resolved])
    with Worker(spec, layer) as worker:
        opened = worker.request("open", timeout=300, **msgspec.to_builtins(request))
        assert opened["executes"] is execute
        assert "VkLayer_khronos_validation" in Path(f"/proc/{worker.pid}/maps").read_text(), "the layer was not loaded"
        for r in (r for r in resolved if not r.job.transfer):
            worker.request("compile", timeout=300, job=told(r.job))
        for i, r in enumerate(resolved if execute else []):
            if r.cell.op == "gemm" and (r.cell.type != "f16" or r.cell.accumulator != "f32"):
                continue  # one of each path will do: they differ in nothing that the layer sees
            reply = worker.request("prepare", timeout=300, cell=i, job=told(r.job), timeout_s=60.0)
            assert reply["wrong"] is None
            for dispatches in (None, 3, 3):
                assert worker.request("sample", timeout=300, cell=i, **{**SAMPLE, "dispatches": dispatches})["wrong"] is None
            worker.request("release", timeout=300, cell=i)
    return complaints(layer)


def test_the_layer_notices_what_is_wrong(embedded: dict[str, DriverSpec], layer: dict[str, str]) -> None:
    """A job whose features were not enabled: the test below can fail."""
    (device,) = gather([embedded["lvp"]], "run").devices
    selection = Selection(op="gemv", shapes=[Shape(37, 3, 96)], types=["q4_0"], paths=["scalar-f32"])
    (resolved,) = resolve(list(cells(selection, device)), device)
    with Worker(embedded["lvp"], layer) as worker:
        worker.request("open", timeout=300, **msgspec.to_builtins(open_request(device, [])))
        worker.request("compile", timeout=300, job=msgspec.to_builtins(resolved.job))
    assert complaints(layer)


def test_measuring_on_lavapipe_is_valid(embedded: dict[str, DriverSpec], layer: dict[str, str]) -> None:
    """From opening the device to giving buffers back, synchronisation included."""
    assert session(embedded["lvp"], layer, execute=True) == []


@pytest.mark.parametrize("name", NULLS)
def test_compiling_on_null_devices_is_valid(embedded: dict[str, DriverSpec], layer: dict[str, str], name: str) -> None:
    """Opening, the canary and every kernel, each tuple too."""
    assert session(null(name), layer, execute=False) == []
