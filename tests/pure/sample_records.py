"""Made-up but type-correct records of several devices, for tests of what works on records alone.

An NVIDIA-like device with measurements, a lavapipe-like CPU device, null RADV and NVK devices with pipelines, a driver in
error; among the cells one wrong, one crash, one unsteady. Numbers come from a seeded generator.
"""

from __future__ import annotations

import random
import zlib
from typing import Any

from vkprobe.device_facts import Coopmat, DriverIdentity, FlexibleTuple, Hardware, Heap, KhrTuple, Queue
from vkprobe.records import (
    AnyRecord,
    Check,
    DeviceRecord,
    DriverRecord,
    EventRecord,
    Host,
    PipelineRecord,
    ResultRecord,
    RunRecord,
    Status,
    Time,
)

RUN = "00000000-0000-4000-8000-000000000001"
COOPMAT2 = "VkPhysicalDeviceCooperativeMatrix2FeaturesNV"
COOPMAT2_FEATURES = (
    "cooperativeMatrixWorkgroupScope",
    "cooperativeMatrixFlexibleDimensions",
    "cooperativeMatrixReductions",
    "cooperativeMatrixConversions",
    "cooperativeMatrixPerElementOperations",
    "cooperativeMatrixTensorAddressing",
    "cooperativeMatrixBlockLoads",
)
Facts = dict[str, dict[str, Any]]


def at(second: int) -> str:
    """A time of the sample run."""
    return f"2026-11-21T10:{second // 60:02d}:{second % 60:02d}.000Z"


def khr(m: int, n: int, k: int, a: str, result: str) -> KhrTuple:
    """A KHR tuple of subgroup scope."""
    return KhrTuple(m=m, n=n, k=k, a=a, b=a, c=result, result=result, saturating=False, scope="subgroup")


def flexible(gm: int, gn: int, gk: int, a: str, result: str, invocations: int) -> FlexibleTuple:
    """A flexible entry of workgroup scope."""
    return FlexibleTuple(
        m_granularity=gm,
        n_granularity=gn,
        k_granularity=gk,
        a=a,
        b=a,
        c=result,
        result=result,
        saturating=False,
        scope="workgroup",
        workgroup_invocations=invocations,
    )


FLEXIBLE_OF_LLAMA = [
    flexible(32, gn, 16, "f16", result, invocations) for gn, invocations in ((16, 128), (32, 256)) for result in ("f16", "f32")
]


def device(
    name: str = "any/0",
    *,
    title: str = "Any GPU",
    kind: str = "discrete-gpu",
    null: bool = False,
    driver: str | None = "any",
    version: str | None = "1.0",
    info: str | None = None,
    build_id: str | None = "abc123",
    api: str | None = "1.4.312",
    extensions: tuple[str, ...] = ("VK_KHR_16bit_storage", "VK_KHR_shader_float16_int8", "VK_KHR_shader_integer_dot_product"),
    features: Facts | None = None,
    properties: Facts | None = None,
    tuples: list[KhrTuple] | None = None,
    nv_flexible: list[FlexibleTuple] | None = None,
    run: str = RUN,
    second: int = 0,
    chip: str | None = None,
    vendor_id: int = 0x10DE,
) -> DeviceRecord:
    """A device record; by default it has what llama.cpp's scalar and integer-dot paths ask for, and no tuples are known."""
    core_features: Facts = {
        "VkPhysicalDeviceVulkan11Features": {"storageBuffer16BitAccess": True},
        "VkPhysicalDeviceVulkan12Features": {"shaderFloat16": True, "bufferDeviceAddress": True},
        "VkPhysicalDeviceVulkan13Features": {"subgroupSizeControl": True, "computeFullSubgroups": True},
    }
    core_properties: Facts = {
        "VkPhysicalDeviceProperties": {"limits": {"maxComputeSharedMemorySize": 49152, "maxComputeWorkGroupInvocations": 1024}},
        "VkPhysicalDeviceVulkan11Properties": {"subgroupSize": 32},
        "VkPhysicalDeviceVulkan13Properties": {
            "minSubgroupSize": 32,
            "maxSubgroupSize": 32,
            "requiredSubgroupSizeStages": 0x20,
            "integerDotProduct4x8BitPackedSignedAccelerated": True,
        },
    }
    return DeviceRecord(
        run=run,
        at=at(second),
        device=name,
        name=title,
        type=kind,
        null=null,
        driver=DriverIdentity(
            name=driver,
            id="VK_DRIVER_ID_X",
            info=info,
            version=version,
            icd=f"/usr/share/vulkan/icd.d/{driver}_icd.json",
            build_id=build_id,
            api=api,
            conformance="1.4.0.0",
            kernel_module=None,
        ),
        hardware=Hardware(vendor_id=vendor_id, device_id=0x2335, pci=None if kind == "cpu" else "0000:17:00.0", chip=chip),
        extensions=dict.fromkeys(extensions, 1),
        features=core_features if features is None else features,
        properties=core_properties if properties is None else properties,
        coopmat=Coopmat(khr=tuples, nv_flexible=nv_flexible, ext=None),
        queues=[Queue(flags=["GRAPHICS", "COMPUTE"], count=1, timestamp_bits=64)],
        heaps=[Heap(bytes=140 << 30, device_local=True)],
    )


def _with(base: DeviceRecord, features: Facts, properties: Facts | None = None) -> tuple[Facts, Facts]:
    return {**base.features, **features}, {**base.properties, **(properties or {})}


COMMON = ("VK_KHR_16bit_storage", "VK_KHR_shader_float16_int8", "VK_KHR_shader_integer_dot_product", "VK_KHR_cooperative_matrix")
_COOPMAT = {"VkPhysicalDeviceCooperativeMatrixFeaturesKHR": {"cooperativeMatrix": True}}


def nvidia(run: str = RUN, second: int = 0) -> DeviceRecord:
    """A device with every path but dot2 and float8."""
    features, properties = _with(
        device(),
        {
            **_COOPMAT,
            COOPMAT2: dict.fromkeys(COOPMAT2_FEATURES, True),
            "VkPhysicalDeviceShaderBfloat16FeaturesKHR": {"shaderBFloat16Type": True},
        },
        {"VkPhysicalDeviceCooperativeMatrix2PropertiesNV": {"cooperativeMatrixFlexibleDimensionsMaxDimension": 1024}},
    )
    return device(
        "nvidia/0",
        title="NVIDIA H200",
        driver="NVIDIA",
        version="580.159.4.0",
        info="580.159.04",
        extensions=(*COMMON, "VK_NV_cooperative_matrix2", "VK_KHR_shader_bfloat16"),
        features=features,
        properties=properties,
        tuples=[
            khr(16, 16, 16, "f16", "f16"),
            khr(16, 8, 16, "f16", "f16"),
            khr(16, 16, 16, "f16", "f32"),
            khr(16, 8, 16, "f16", "f32"),
            khr(16, 16, 16, "bf16", "f32"),
        ],
        nv_flexible=FLEXIBLE_OF_LLAMA,
        run=run,
        second=second,
    )


def lavapipe(run: str = RUN) -> DeviceRecord:
    """A CPU device with 8x8x8 tuples and four of coopmat2's seven features."""
    on = {name: index in (1, 2, 3, 4) for index, name in enumerate(COOPMAT2_FEATURES)}
    features, properties = _with(
        device(),
        {**_COOPMAT, COOPMAT2: on},
        {"VkPhysicalDeviceCooperativeMatrix2PropertiesNV": {"cooperativeMatrixFlexibleDimensionsMaxDimension": 1024}},
    )
    return device(
        "embedded:lvp/0",
        title="llvmpipe (LLVM 19.1.7, 256 bits)",
        kind="cpu",
        driver="llvmpipe",
        version="26.1.6",
        info="Mesa 26.1.6-1~bpo13+1 (LLVM 19.1.7)",
        extensions=(*COMMON, "VK_NV_cooperative_matrix2"),
        features=features,
        properties=properties,
        tuples=[khr(8, 8, 8, "f16", "f16"), khr(8, 8, 8, "f16", "f32")],
        nv_flexible=[],
        run=run,
        vendor_id=0x10005,
    )


def null_radv(run: str = RUN) -> DeviceRecord:
    """A null RDNA4 device: coopmat with bf16, no coopmat2."""
    features, properties = _with(device(), {**_COOPMAT, "VkPhysicalDeviceShaderBfloat16FeaturesKHR": {"shaderBFloat16Type": True}})
    return device(
        "radv:gfx1201/0",
        title="AMD Radeon Graphics (RADV GFX1201)",
        null=True,
        driver="radv",
        version="26.1.6",
        info="Mesa 26.1.6-1~bpo13+1",
        extensions=(*COMMON, "VK_KHR_shader_bfloat16"),
        features=features,
        properties=properties,
        tuples=[khr(16, 16, 16, "f16", "f16"), khr(16, 16, 16, "f16", "f32"), khr(16, 16, 16, "bf16", "f32")],
        run=run,
        chip="gfx1201",
        vendor_id=0x1002,
    )


def null_nvk(run: str = RUN) -> DeviceRecord:
    """A null Ampere device under NVK: coopmat, no coopmat2, no bf16."""
    features, properties = _with(device(), _COOPMAT)
    return device(
        "nvk:172/0",
        title="NVK ",
        null=True,
        driver="NVK",
        version="26.1.6",
        info="Mesa 26.1.6-1~bpo13+1",
        extensions=COMMON,
        features=features,
        properties=properties,
        tuples=[khr(16, 16, 16, "f16", "f16"), khr(16, 8, 16, "f16", "f16"), khr(16, 16, 16, "f16", "f32")],
        run=run,
        chip="172",
    )


def timing(median: float, *, steady: bool = True, rounds: int = 3, seed: int = 1) -> Time:
    """Samples (s) around `median` in rounds, after a settling phase of plateaus."""
    rng = random.Random(seed)
    noise = 0.003 if steady else 0.06
    samples = [median * (1 + rng.gauss(0, noise) + (0 if steady else 0.03 * r)) for r in range(rounds) for _ in range(8)]
    ordered = sorted(samples)
    return Time(
        median_s=ordered[len(ordered) // 2],
        ci95_s=(ordered[1], ordered[-2]),
        samples_s=samples,
        rounds=[r for r in range(rounds) for _ in range(8)],
        settle_s=0.8,
        settle_samples_s=[median * f for f in (2.5, 1.7, 1.66, 1.1, 1.01)],
        wall_samples_s=[s * 1.02 for s in samples],
        dispatches_per_sample=40,
        clock="gpu",
        timestamp_period_ns=1.0,
        steady=steady,
        unsteady_because=None if steady else "the last two rounds differ by 4.1 %",
        telemetry={"sm_clock_mhz": [1980, 1980]},
    )


def result(
    name: str = "nvidia/0",
    op: str = "gemm",
    path: str = "coopmat",
    weights: str = "f16",
    shape: tuple[int, int, int] = (4096, 512, 14336),
    *,
    accumulator: str = "f16",
    matrix_tuple: str | None = None,
    status: Status = "ok",
    reason: str | None = None,
    median: float = 1e-3,
    steady: bool = True,
    run: str = RUN,
    second: int = 10,
    residency: str = "cold",
) -> ResultRecord:
    """A cell's record; with `ok` it carries time, rates and check."""
    m, n, k = shape
    flops = 2.0 * m * n * k
    size = {"f16": 2.0, "q4_0": 18 / 32, "q8_0": 34 / 32}[weights] * m * k
    extra: dict[str, Any] = {}
    if status == "ok":
        extra["time"] = timing(median, steady=steady, seed=zlib.crc32(repr((op, path, weights, shape)).encode()))
        extra["flops_per_s"] = flops / median
        extra["bytes_per_s"] = size / median
    if status in ("ok", "wrong"):
        nmse = 0.31 if status == "wrong" else 2e-7
        extra["check"] = Check(method="exact small integers, then random", nmse=nmse, max_abs=0.02, bound=1e-3)
    return ResultRecord(
        run=run,
        at=at(second),
        device=name,
        op=op,
        kernel=f"{op}_{weights}_{path}",
        tier="mimic",
        residency=residency,
        path=path,
        type=weights,
        accumulator=None if op in ("dequant", "convert") else accumulator,
        tuple=matrix_tuple,
        axes={"dequant": {"m": m, "k": k}, "convert": {"n": n, "k": k}}.get(op, {"m": m, "n": n, "k": k}),
        tile="128x128x32" if op == "gemm" else None,
        status=status,
        reason=reason,
        compile_s=0.12,
        working_set_bytes=512 << 20,
        **extra,
    )


def pipeline(name: str, kernel: str, path: str, weights: str, *, registers: int, spills: int, matrix: int | None = None) -> PipelineRecord:
    """A compiled pipeline with statistics."""
    return PipelineRecord(
        run=RUN,
        at=at(5),
        device=name,
        kernel=kernel,
        path=path,
        type=weights,
        tile="128x128x32",
        subgroup_size=32,
        status="ok",
        compile_s=0.2,
        raw={"VGPRs": registers, "Spilled VGPRs": spills},
        registers=registers,
        spills=spills,
        instructions=1204,
        code_bytes=19264,
        matrix_instructions=matrix,
    )


NULL_REASON = "executes nothing: it is a null device"
GEMM = [("f16", p, acc) for p in ("scalar-f32", "scalar-f16", "coopmat") for acc in ("f16", "f32")] + [
    ("q4_0", p, acc) for p in ("scalar-f32", "scalar-f16", "coopmat") for acc in ("f16", "f32")
]


def _cells(name: str, slowness: float, tuple_: str, shape: tuple[int, int, int]) -> list[ResultRecord]:
    m, _, k = shape
    speed = {"scalar-f32": 8.0, "scalar-f16": 3.0, "coopmat": 1.0}
    cells = [
        result(
            name,
            "gemm",
            path,
            weights,
            shape,
            accumulator=acc,
            matrix_tuple=tuple_ if path == "coopmat" else None,
            median=slowness * 7e-4 * speed[path] * (1.15 if acc == "f32" else 1) * (1.1 if weights == "q4_0" else 1),
        )
        for weights, path, acc in GEMM
    ]
    cells += [
        result(name, "gemv", "scalar-f32", weights, (m, n, k), accumulator="f32", median=slowness * (2e-5 + 4e-6 * n) * size)
        for weights, size in (("f16", 2.0), ("q4_0", 0.6), ("q8_0", 1.1))
        for n in (1, 2, 8)
    ]
    return cells + [
        result(name, "dequant", "scalar-f32", weights, (m, 1, k), accumulator="f32", median=slowness * 4e-5) for weights in ("q4_0", "q8_0")
    ]


def _null(name: str, registers: int) -> list[AnyRecord]:
    records: list[AnyRecord] = []
    for weights, path, acc in GEMM:
        records.append(
            result(
                name,
                "gemm",
                path,
                weights,
                accumulator=acc,
                matrix_tuple="16x16x16" if path == "coopmat" else None,
                status="noop",
                reason=NULL_REASON,
            )
        )
    for weights, path in sorted({(w, p) for w, p, _ in GEMM}):
        spills = 442 if (weights, path) == ("q4_0", "coopmat") and "nvk" in name else 0
        count = 64 if path == "coopmat" else 0
        records.append(pipeline(name, f"gemm_{weights}_{path}", path, weights, registers=registers, spills=spills, matrix=count))
    return records


def sample() -> list[AnyRecord]:
    """The records of one run over everything named at the top of this module."""
    run = RunRecord(
        run=RUN,
        at=at(0),
        tool="vkprobe 0.1.0",
        argv=["run", "--quick", "-o", "run.jsonl"],
        host=Host(cpu="AMD EPYC 9654", os="Debian GNU/Linux 13 (trixie)", kernel="6.12.0"),
        environment={"MESA_SHADER_CACHE_DISABLE": "1", "NAK_DEBUG": ""},
    )
    drivers: list[AnyRecord] = [
        DriverRecord(run=RUN, at=at(0), driver="nvidia", icd="/etc/vulkan/icd.d/nvidia_icd.json", state="ok", devices=["nvidia/0"]),
        DriverRecord(run=RUN, at=at(0), driver="embedded:lvp", icd="lvp_icd.json", state="ok", devices=["embedded:lvp/0"]),
        DriverRecord(
            run=RUN,
            at=at(0),
            driver="broken",
            icd="/tmp/broken_icd.json",
            state="error",
            reason="library libvulkan_broken.so: cannot open shared object file",
            remedy="install the package that provides libvulkan_broken.so, or remove the manifest",
        ),
    ]
    measured: list[AnyRecord] = []
    for cell in _cells("nvidia/0", 1.0, "16x16x16", (4096, 512, 14336)):
        name = (cell.op, cell.type, cell.path, cell.accumulator, cell.axes.get("n"))
        if name == ("gemm", "q4_0", "coopmat", "f16", 512):
            reason = "3 of 2097152 elements differ in the exact pass, first at [17, 300]: 12.0, expected 9.0"
            cell = result("nvidia/0", "gemm", "coopmat", "q4_0", matrix_tuple="16x16x16", status="wrong", reason=reason)
        elif name == ("gemm", "f16", "scalar-f32", "f32", 512):
            reason = "killed by SIGSEGV while it created the pipeline; stderr ends: nvidia-modeset: page fault at 0x10"
            cell = result("nvidia/0", "gemm", "scalar-f32", "f16", accumulator="f32", status="crash", reason=reason)
        elif name == ("gemv", "q8_0", "scalar-f32", "f32", 8):
            cell = result("nvidia/0", "gemv", "scalar-f32", "q8_0", (4096, 8, 14336), accumulator="f32", median=6e-5, steady=False)
        measured.append(cell)
    measured += _cells("embedded:lvp/0", 30000.0, "8x8x8", (4096, 512, 14336))
    event = EventRecord(
        run=RUN,
        at=at(11),
        device="nvidia/0",
        what="crash",
        where="gemm f16 scalar-f32 f32 4096x512x14336",
        signal="SIGSEGV",
        stderr_tail="page fault at 0x10",
    )
    nulls = [*_null("radv:gfx1201/0", 96), *_null("nvk:172/0", 128)]
    return [run, *drivers, nvidia(), lavapipe(), null_radv(), null_nvk(), *measured, *nulls, event]
