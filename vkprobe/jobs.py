"""What the parent asks a worker to compile, verify and time: resolved down to constants and workgroups, no choice left."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Stage(Struct, frozen=True, kw_only=True):
    """A kernel that a job dispatches after its first: fields as a Job's."""

    kernel: str
    constants: list[tuple[int, int]]
    groups: tuple[int, int, int]


class Job(Struct, frozen=True, kw_only=True):
    """One kernel on one workload.

    Attributes:
        op: `gemm`, `gemv`, `dequant` or `convert`; `copy` and `peak`.
        kernel: name of the SPIR-V module.
        path, type, accumulator: as in records; they choose inputs, reference and bound.
        m, n, k: the workload; dequant has n = 1, convert m = 1.
        hot: one weight buffer instead of a rotation.
        constants: (id, value) of specialisation constants.
        groups: workgroups dispatched.
        subgroup_size: required of the driver; None leaves it the choice.
        full_subgroups: required.
        rounding_f16: patch in RoundingModeRTE for f16; the device offers it.
        denormals_f16: patch in DenormPreserve for f16; the device offers it.
        robust: buffer accesses are bounds-checked; where it is off, only a device that can't switch that off checks them.
        activations: the form in which the kernel reads activations: f32, f16, bf16 or q8_1.
        padded_n: rows of activations on the device, those beyond n zero; 0 for n.
        parts: how many parts K is split into, each with a D of its own; `reduce` sums them.
        part_k: elements along K of a part; 0 for k.
        reduce: dispatched after the kernel: reads what that wrote, writes the result.
        source_bytes, output_bytes: of a peak, whose buffers follow from nothing else; of a copy that only reads, what it writes.
        transfer: no kernel: the device's copy command. `source_memory` and `output_memory` are `device`, or `upload` and
            `readback` for the host's.
    """

    op: str
    kernel: str
    path: str
    type: str
    accumulator: str
    m: int
    n: int
    k: int
    hot: bool
    constants: list[tuple[int, int]]
    groups: tuple[int, int, int]
    subgroup_size: int | None = None
    full_subgroups: bool = False
    rounding_f16: bool = False
    denormals_f16: bool = False
    robust: bool = False
    activations: str = "f32"
    padded_n: int = 0
    parts: int = 1
    part_k: int = 0
    reduce: Stage | None = None
    source_bytes: int = 0
    output_bytes: int = 0
    transfer: bool = False
    source_memory: str = "device"
    output_memory: str = "device"

    @property
    def float_controls(self) -> tuple[str, ...]:
        """The execution modes that are patched in, with the width they are for."""
        return (*(["DenormPreserve 16"] if self.denormals_f16 else []), *(["RoundingModeRTE 16"] if self.rounding_f16 else []))

    @property
    def push(self) -> tuple[int, int, int, int]:
        """The push constants: M, N, K and how much of K a part has, which is K and GEMVs' stride of B where it is not split."""
        return self.m, self.n, self.k, self.part_k or self.k


class OpenRequest(Struct, frozen=True, kw_only=True):
    """The device to open and what to enable on it.

    Attributes:
        index: the device's, in the driver's order.
        extensions, features: to enable.
        robustness: VK_EXT_pipeline_robustness is among them (or core): pipelines can switch off the checks of robustBufferAccess.
        statistics: VK_KHR_pipeline_executable_properties is among them.
        rotation_bytes: how much the weights of a cold cell rotate over together.
    """

    index: int
    extensions: list[str]
    features: dict[str, list[str]]
    robustness: bool
    statistics: bool
    rotation_bytes: int


class TupleJob(Struct, frozen=True, kw_only=True):
    """One cooperative-matrix tuple to climb the ladder with.

    Attributes:
        kernel: the module of its types and scope; `scalar_kernel` the plain one that it must be faster than, None where there is none.
        m, n, k: its shape; of a flexible tuple, multiples of its granularities.
        a, b, c: component types; the result is of c's.
        local: invocations of a workgroup: one subgroup, or the flexible tuple's workgroup.
        full_subgroups: required.
    """

    kernel: str
    scalar_kernel: str | None
    m: int
    n: int
    k: int
    a: str
    b: str
    c: str
    saturating: bool
    local: int
    full_subgroups: bool


class FeatureStep(Struct, frozen=True, kw_only=True):
    """One kernel that shows a feature at work, and how its results are checked.

    Attributes:
        kernel: the module; `plain_kernel` does the same without the feature and is timed against it, None where nothing is.
        check: which of the worker's checks; `parameters` are its own.
        what: which of a feature's kernels it is, for reasons (`workgroup scope, f16`).
        constants: (id, value) of specialisation constants; id 0 is the workgroup's size.
        subgroup_size: required of the driver; None leaves it the choice.
        full_subgroups: required.
    """

    kernel: str
    check: str
    what: str = ""
    parameters: dict[str, Any] = {}
    constants: list[tuple[int, int]]
    subgroup_size: int | None = None
    full_subgroups: bool = False
    plain_kernel: str | None = None


class FeatureJob(Struct, frozen=True, kw_only=True):
    """One feature to climb the ladder with: all of its kernels compile before the first runs."""

    steps: list[FeatureStep]
