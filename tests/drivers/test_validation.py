"""Vulkan's validation layer has nothing to say of anything that measuring does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import selected
from tests.drivers.test_null_compile import NULLS, null
from vkprobe import ops
from vkprobe.cell import Cell
from vkprobe.drivers.embedded import layer_folder
from vkprobe.drivers.launch import Worker
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.kernels import kernels
from vkprobe.ops.base import Request
from vkprobe.ops.plan import plans
from vkprobe.program import Dispatch, Program
from vkprobe.protocol import Compile, Prepare, Release, Sample
from vkprobe.session.opening import open_request
from vkprobe.weights import WEIGHT_TYPES

SAMPLE = Sample(number=0, dispatches=None, least_samples=2, least_s=0.0, most_s=1.0, settle_s=0.01, warm_s=0.01, timeout_s=60.0)

_NEWER = {"dot2", "bf16", "e4m3", "e5m2"}
"""Paths and types of matrices and peaks that layers up to 1.4.309 do not know: VK_VALVE_shader_mixed_float_dot_product and its capability,
and the components of VK_KHR_shader_bfloat16 and VK_EXT_shader_float8. To such a layer a module that declares them is no SPIR-V."""

_ROWS = {
    96: [name for name, kind in WEIGHT_TYPES.items() if 96 % kind.elements == 0],
    256: [name for name, kind in WEIGHT_TYPES.items() if 96 % kind.elements],
}
"""K of a row, and the types measured with it: 96, which ends within a group of q8_1, where blocks allow that."""
_ROWS_OF_SOME = {96: ["f16", "q4_0"], 256: ["q4_k"]}

_MISTAKEN = (
    # Structs newer than the layer.
    r"unknown VkStructureType",
    # A limit of flexible dimensions, 0 where there are none, held against KHR tuples too: the specification's text has said since
    # "if the cooperativeMatrixFlexibleDimensions feature is enabled" (Vulkan-Docs#2815, Vulkan-ValidationLayers#13069).
    r"MaxDimension-10167 .*scope: VK_SCOPE_SUBGROUP_KHR.*greater than cooperativeMatrixFlexibleDimensionsMaxDimension \(0\)",
    # The device's usual subgroup size in place of the one that the pipeline requires, as on RDNA for int8 matrices: the
    # specification has said "effective subgroup size" since (Vulkan-ValidationLayers#9843).
    r"module-08987 .*X dimension \(32\) is not a multiple of subgroupSize \(64\)",
)
"""Complaints of layers up to 1.4.309 about valid use."""


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
    """The layer's messages, without those in which it is mistaken."""
    log = Path(layer["VK_KHRONOS_VALIDATION_LOG_FILENAME"])
    messages = re.split(r"^(?=Validation )", log.read_text() if log.exists() else "", flags=re.M)
    return [m for m in messages if m.strip() and not any(re.search(p, m, flags=re.S) for p in _MISTAKEN)]


def newer(cell: Cell) -> bool:
    """Whether the layer may be too old for a cell's modules."""
    return bool({cell.variant.path, *(cell.variant.type or "").split(",")} & _NEWER)


def test_constants_have_no_gaps() -> None:
    """Each kernel's constants are numbered from 0 without gaps, and a plan has an entry for all of them, in that order.

    Layers up to 1.4.309 look a constant up at the index of its id among the entries, and then complain of other matrices
    than the kernel's; entries in which the two are the same are valid too.
    """
    assert all(list(kernel.constants.values()) == list(range(len(kernel.constants))) for kernel in kernels().values())


def dense(program: Program) -> bool:
    """Whether every dispatch gives each of its kernel's constants a value, in the order of their ids."""
    stages = [stage for stage in program.stages if isinstance(stage, Dispatch)]
    return all(list(stage.constants) == list(kernels()[stage.kernel].constants) for stage in stages)


def session(spec: DriverSpec, layer: dict[str, str], *, execute: bool) -> list[str]:
    """The layer's complaints about opening, compiling every kernel, and preparing, sampling and releasing some."""
    (device,) = gather([spec], "run").devices
    rows = _ROWS if execute else _ROWS_OF_SOME  # modules are checked as such, whatever the driver
    cells = [
        *selected(device, "gemm", (45, 21, 96), types=["q4_0", "f16"] if execute else ["f16"], tuples=("all",)),
        *(cell for k, types in rows.items() for cell in selected(device, "gemv", (37, 1, k), types=types)),
        *(cell for k, types in rows.items() for cell in selected(device, "dequant", (37, 1, k), types=types)),
    ]
    cells = [cell for cell in cells if cell.variant.path not in _NEWER] + ops.find("copy").cells(Request(), device)
    cells += [cell for cell in ops.find("peak").cells(Request(), device) if not newer(cell)]
    planned = [p for p in plans(cells, device) if p.reason is None]
    assert all(dense(p.program) for p in planned)
    request = open_request(device, [p.requirement for p in planned])
    with Worker(spec, layer) as worker:
        assert worker.request(request, timeout=300).executes is execute
        assert "VkLayer_khronos_validation" in Path(f"/proc/{worker.pid}/maps").read_text(), "the layer was not loaded"
        for stage in (p.program.first for p in planned if p.program.first is not None):
            worker.request(Compile(stage=stage), timeout=300)
        for i, plan in enumerate(planned if execute else []):
            v = plan.cell.variant
            # One type of each path will do: they differ in nothing that the layer sees.
            if plan.cell.op == "gemm" and (v.type != "f16" or v.accumulator != "f32"):
                continue
            if plan.cell.op in ("gemv", "dequant") and not any(v.type in types for types in _ROWS_OF_SOME.values()):
                continue
            assert worker.request(Prepare(number=i, program=plan.program, timeout_s=60.0), timeout=300).wrong is None
            for dispatches in (None, 3, 3):
                assert worker.request(replace(SAMPLE, number=i, dispatches=dispatches), timeout=300).wrong is None
            worker.request(Release(number=i), timeout=300)
    return complaints(layer)


def test_the_layer_notices_what_is_wrong(embedded: dict[str, DriverSpec], layer: dict[str, str]) -> None:
    """It complains of a kernel whose features were not enabled: the tests below can fail."""
    (device,) = gather([embedded["lvp"]], "run").devices
    (plan,) = plans(selected(device, "gemv", (37, 3, 96), types=["q4_0"], paths=["scalar-f32"]), device)
    assert plan.program.first is not None
    with Worker(embedded["lvp"], layer) as worker:
        worker.request(open_request(device, []), timeout=300)
        worker.request(Compile(stage=plan.program.first), timeout=300)
    assert complaints(layer)


def test_measuring_on_lavapipe_is_valid(embedded: dict[str, DriverSpec], layer: dict[str, str]) -> None:
    """The layer sees everything from opening the device to freeing buffers, synchronisation included."""
    assert session(embedded["lvp"], layer, execute=True) == []


@pytest.mark.parametrize("name", NULLS)
def test_compiling_on_null_devices_is_valid(embedded: dict[str, DriverSpec], layer: dict[str, str], name: str) -> None:
    """Opening, the canary and every kernel, each tuple too."""
    assert session(null(name), layer, execute=False) == []
