"""A typed request and reply for everything that crosses the pipe between the command line's process and a driver's worker.

A request is one JSON line, `{"id": 3, "request": {"do": "sample", ...}}`; the worker answers with progress lines and then one reply.
"""

from __future__ import annotations

from typing import Any, Literal, Union

from msgspec import Struct

from vkprobe.program import Dispatch, Program
from vkprobe.records import Check


class TupleJob(Struct, frozen=True, kw_only=True):
    """One cooperative-matrix tuple to climb the ladder with.

    Attributes:
        kernel: the module of its types and scope.
        scalar_kernel: the plain kernel that it must be faster than; None if there is none.
        m, n, k: its shape; for a flexible tuple, multiples of its granularities.
        a, b, c: component types; the result has c's.
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
        check: which of the worker's checks; `parameters` are its own.
        what: which of a feature's kernels it is, for reasons (`workgroup scope, f16`).
        constants: (id, value) of specialisation constants; id 0 is the workgroup's size.
        subgroup_size: required of the driver; None leaves the choice to it.
        full_subgroups: required.
        plain_kernel: does the same without the feature and is timed against it; None if nothing is.
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


class Request(Struct, frozen=True, kw_only=True, tag_field="do"):
    """Base of every request."""


class Enumerate(Request, frozen=True, kw_only=True, tag="enumerate"):
    """List the driver's devices."""


class Facts(Request, frozen=True, kw_only=True, tag="facts"):
    """Read device facts, of one device or all; `skip` names queries to leave out."""

    index: int | None = None
    skip: list[str] = []


class Diagnose(Request, frozen=True, kw_only=True, tag="diagnose"):
    """Load a driver's library by hand."""

    library: str


class Open(Request, frozen=True, kw_only=True, tag="open"):
    """Open a device for the rest of the worker's life.

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


class Opened(Struct, frozen=True, kw_only=True):
    """The device is open.

    Attributes:
        executes: a canary dispatch did its work.
        timestamps: the queue has usable ones.
    """

    executes: bool
    timestamps: bool


class Compile(Request, frozen=True, kw_only=True, tag="compile"):
    """Create a pipeline, ask the driver's compiler about it, and give it back."""

    stage: Dispatch


class Compiled(Struct, frozen=True, kw_only=True):
    """A pipeline that was created; `texts` are the compiler's, by name."""

    compile_s: float
    statistics: dict[str, Any] = {}
    subgroup_size: int | None = None
    texts: dict[str, str] = {}


class Prepare(Request, frozen=True, kw_only=True, tag="prepare"):
    """Create a program's pipelines and buffers, and verify it; `number` is its handle, `timeout_s` limits one dispatch."""

    number: int
    program: Program
    timeout_s: float


class Prepared(Struct, frozen=True, kw_only=True):
    """The verdict of the check; `wrong` is a sentence, or None."""

    check: Check
    wrong: str | None
    create_s: float
    verify_s: float


class Sample(Request, frozen=True, kw_only=True, tag="sample"):
    """One round of a prepared program: settle, sample, check that the timed output is the verified one.

    Attributes:
        dispatches: of a sample; None to calibrate.
        least_samples, least_s: of the round.
        most_s: after which a round ends that has too few samples.
        settle_s: at most, before samples count.
        warm_s: how long the device is kept busy before.
        timeout_s: of one sample.
    """

    number: int
    dispatches: int | None
    least_samples: int
    least_s: float
    most_s: float
    settle_s: float
    warm_s: float
    timeout_s: float


class Sampled(Struct, frozen=True, kw_only=True):
    """One round; times are s per dispatch."""

    dispatches: int
    settle_s: float
    settle_samples_s: list[float]
    samples_s: list[float]
    wall_samples_s: list[float]
    clock: Literal["gpu", "wall"]
    timestamp_period_ns: float | str
    working_set_bytes: int
    wrong: str | None
    telemetry: dict[str, Any] = {}


class Release(Request, frozen=True, kw_only=True, tag="release"):
    """Give a prepared program's pipelines and buffers back."""

    number: int


class Climb(Request, frozen=True, kw_only=True, tag="climb"):
    """Climb the ladder with a tuple; without `execute` it is compiled only."""

    execute: bool
    job: TupleJob


class ClimbFeature(Request, frozen=True, kw_only=True, tag="climb_feature"):
    """Climb the ladder with a feature; without `execute` it is compiled only."""

    execute: bool
    job: FeatureJob


class Climbed(Struct, frozen=True, kw_only=True):
    """Result of a climb; `ratio` is time over the plain kernel's."""

    wrong: str | None
    facts: dict[str, Any] = {}
    ratio: float | None = None


class BuildShader(Request, frozen=True, kw_only=True, tag="build_shader"):
    """Compile the module in the file `spirv` and allocate a buffer of each size (B), by binding; `push` are 32-bit words."""

    shader: int
    spirv: str
    sizes: list[int]
    push: list[int]
    constants: list[tuple[int, int]]
    subgroup_size: int | None
    full_subgroups: bool


class WriteShader(Request, frozen=True, kw_only=True, tag="write_shader"):
    """Upload files' bytes to the buffers of these bindings."""

    shader: int
    files: dict[int, str]


class DispatchShader(Request, frozen=True, kw_only=True, tag="dispatch_shader"):
    """Dispatch `repeat` times, a memory barrier after each."""

    shader: int
    groups: tuple[int, int, int]
    repeat: int
    timeout_s: float


class Dispatched(Struct, frozen=True, kw_only=True):
    """Time (s) of one dispatch."""

    time_s: float
    wall_s: float
    clock: Literal["gpu", "wall"]


class ReadShader(Request, frozen=True, kw_only=True, tag="read_shader"):
    """Download the buffers of these bindings to files."""

    shader: int
    files: dict[int, str]


class ShaderStatistics(Request, frozen=True, kw_only=True, tag="shader_statistics"):
    """Ask the driver's compiler about a shader."""

    shader: int


class ReleaseShader(Request, frozen=True, kw_only=True, tag="release_shader"):
    """Give a shader's pipeline and buffers back."""

    shader: int


class Fault(Request, frozen=True, kw_only=True, tag="fault"):
    """Ask the driver why it lost the device."""


class FaultReport(Struct, frozen=True, kw_only=True):
    """The driver's own words; None if it has none."""

    report: str | None


class Done(Struct, frozen=True, kw_only=True):
    """The request was carried out; there is nothing to say."""


AnyRequest = Union[
    Enumerate, Facts, Diagnose, Open, Compile, Prepare, Sample, Release, Climb, ClimbFeature,
    BuildShader, WriteShader, DispatchShader, ReadShader, ShaderStatistics, ReleaseShader, Fault,
]  # fmt: skip

REPLIES: dict[type[Request], Any] = {
    Enumerate: list[dict[str, Any]],
    Facts: list[dict[str, Any]],
    Diagnose: dict[str, Any],
    Open: Opened,
    Compile: Compiled,
    Prepare: Prepared,
    Sample: Sampled,
    Release: Done,
    Climb: Climbed,
    ClimbFeature: Climbed,
    BuildShader: Compiled,
    WriteShader: Done,
    DispatchShader: Dispatched,
    ReadShader: Done,
    ShaderStatistics: Compiled,
    ReleaseShader: Done,
    Fault: FaultReport,
}
"""Each request's reply."""


class Envelope(Struct, frozen=True, kw_only=True):
    """A request and its number, which replies carry too."""

    id: int
    request: AnyRequest
