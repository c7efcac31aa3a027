"""The types that are stored: frozen, one JSON object a line, `kind` first.

Schema history:
1 (2026-11): `m`, `n`, `k` beside `op`. `vkprobe.ops.schema1` lifts its results.
2 (2026-12): `axes`, `mode` and `stack`; parts of the variant that an op doesn't have are null; gaps carry their prices.

An added field doesn't raise the version; a field that changes its meaning or disappears does.
Stored units are s, B, FLOP; `null` is unknown; non-finite floats are the strings "inf", "-inf", "nan".
"""

from __future__ import annotations

import datetime
from typing import Any, Literal, Union

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from vkprobe.cell import VARIANT_FIELDS, Cell, Variant
from vkprobe.device_facts import Coopmat, DriverIdentity, Hardware, Heap, Queue

SCHEMA = 2

Status = Literal["ok", "unsupported", "skipped", "wrong", "error", "timeout", "crash", "device-lost", "noop"]
DriverState = Literal["ok", "no-device", "error"]
Modes = tuple[str, ...]  # a name of its own: `tuple` is a field of results
Samples = tuple[float, ...]

LOST_STATUSES = frozenset({"crash", "timeout", "device-lost", "error"})
"""The driver failed at the cell: it is neither measured nor plainly unsupported."""
RETRIED_STATUSES = frozenset({"crash", "timeout", "device-lost", "skipped"})
"""A resumed run measures cells again that ended in one of these."""
Stack = Literal["vulkan", "cuda", "rocm", "xpu", "cpu"]
"""What ran a device's kernels."""


def now() -> str:
    """The current time in the form that records use: ISO 8601, UTC, milliseconds."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(at: str) -> datetime.datetime:
    """Parse a record's time.

    >>> (moment("2026-11-28T06:00:01.500Z") - moment("2026-11-28T05:59:00.000Z")).total_seconds()
    61.5
    """
    return datetime.datetime.fromisoformat(at.replace("Z", "+00:00"))


class Record(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Fields of every record: the run it belongs to and when it was written."""

    run: str
    at: str = field(default_factory=now)


class Host(Struct, frozen=True, kw_only=True):
    """The machine: CPU's model, operating system and kernel release."""

    cpu: str | None
    os: str | None
    kernel: str | None


class RunRecord(Record, frozen=True, kw_only=True, tag="run"):
    """One invocation that queried or measured drivers; a resumed run is a new one."""

    schema: int = SCHEMA
    tool: str
    argv: list[str]
    host: Host
    environment: dict[str, str]


class DriverRecord(Record, frozen=True, kw_only=True, tag="driver"):
    """One driver (ICD manifest plus environment): whether it works, and what to do if it doesn't."""

    driver: str
    icd: str | None
    state: DriverState
    reason: str | None = None
    remedy: str | None = None
    devices: list[str] = []


class DeviceRecord(Record, frozen=True, kw_only=True, tag="device"):
    """Everything a driver reports about one device, unjudged, in the specification's own names.

    Attributes:
        stack: what runs its kernels.
        environment: variables that this driver's worker has on top of the run's.
    """

    device: str
    stack: Stack = "vulkan"
    environment: dict[str, str] = {}
    name: str
    type: str
    null: bool
    driver: DriverIdentity
    hardware: Hardware
    extensions: dict[str, int]
    features: dict[str, dict[str, Any]]
    properties: dict[str, dict[str, Any]]
    coopmat: Coopmat
    queues: list[Queue] | None
    heaps: list[Heap] | None

    @property
    def driver_name(self) -> str:
        """The name that its driver was chosen by: the id without the index."""
        return self.device.rpartition("/")[0]

    @property
    def index(self) -> int:
        """Its place in the driver's order, from 0."""
        return int(self.device.rpartition("/")[2])


class Unsteady(Struct, frozen=True, kw_only=True):
    """Why a time isn't steady: a cause that `vkprobe.results.causes` words, and the numbers in its sentence, shares as fractions."""

    cause: str
    numbers: Samples = ()


class Time(Struct, frozen=True, kw_only=True):
    """Steady timing of one cell; every sample is kept, in order. A sample is s per dispatch, one barrier included.

    Attributes:
        unsteady_because: why it isn't steady, in words.
        unsteady: the same as data; None where it is steady or the cause is given in words only.
    """

    median_s: float
    ci95_s: tuple[float, float]
    samples_s: list[float]
    rounds: list[int]
    settle_s: float
    settle_samples_s: list[float]
    wall_samples_s: list[float]
    dispatches_per_sample: int
    clock: Literal["gpu", "wall"]
    timestamp_period_ns: float | str | None
    steady: bool
    unsteady_because: str | None = None
    unsteady: Unsteady | None = None
    telemetry: dict[str, Any] = {}


class Check(Struct, frozen=True, kw_only=True):
    """How the timed buffers were verified: `nmse` = sum of squared errors over sum of squared references, `bound` its limit."""

    method: str
    nmse: float | str
    max_abs: float | str
    bound: float


class ResultRecord(Record, frozen=True, kw_only=True, tag="result"):
    """One cell on one device, ended in exactly one status: the cell's identity, how it ran, and what was measured.

    Attributes:
        op, axes: the cell; `path` to `mode` are its variant (`vkprobe.cell.Variant`).
        tile, split_k, aligned, subgroup_size, spirv_sha: outcomes: how the cell's kernel was specialised here.
        robust: buffer accesses are bounds-checked (robustBufferAccess).
        float_controls: execution modes that were added to the module.
        interrupted: the cell ended before it was steady or out of rounds; a resumed run measures it again.
        partial_samples_s: by round, where the cell was lost after it had been sampled.
    """

    device: str
    op: str
    axes: dict[str, int]
    path: str | None = None
    type: str | None = None
    accumulator: str | None = None
    tuple: str | None = None
    residency: str | None = None
    tier: str | None = None
    mode: str | None = None
    kernel: str
    tile: str | None = None
    split_k: int | None = None
    aligned: bool | None = None
    subgroup_size: int | None = None
    spirv_sha: str | None = None
    robust: bool | None = None
    float_controls: Modes | None = None
    status: Status
    reason: str | None = None
    compile_s: float | None = None
    working_set_bytes: int | None = None
    time: Time | UnsetType = UNSET
    flops_per_s: float | UnsetType = UNSET
    bytes_per_s: float | UnsetType = UNSET
    interrupted: bool = False
    peak_share: float | UnsetType | None = UNSET
    check: Check | UnsetType = UNSET
    partial_samples_s: list[list[float]] | UnsetType = UNSET

    @property
    def cell(self) -> Cell:
        """The cell that this record is about."""
        variant = Variant(**{name: getattr(self, name) for name in VARIANT_FIELDS})
        return Cell(op=self.op, axes=tuple(self.axes.items()), variant=variant)


class PipelineRecord(Record, frozen=True, kw_only=True, tag="pipeline"):
    """One compiled pipeline: creation time and what the driver's compiler says of it.

    Attributes:
        robust: its buffer accesses are bounds-checked (robustBufferAccess).
        float_controls: execution modes that were added to the module (`DenormPreserve 16`, `RoundingModeRTE 16`); None where a vkprobe
            did not report it, which added them to modules of f16 arithmetic alone.
        tile_registers: 32-bit registers of an invocation that the kernel's tile takes at the least; None for ops without a tile.
        register_budget: those that an invocation can have on this chip; None where that is not known.
        op: the op that the kernel is of.
        family: the kernel's name with a star for its type (`gemm_*_coopmat`), which kernels of all types share.
        tile_name: the part of the tile that devices have in common: its size (`s m l`), or a GEMV's columns (`n4`).
        tuple: the matrix shape of its tile.
        subgroups: of a workgroup, where that distinguishes pipelines.
    """

    device: str
    kernel: str
    path: str
    type: str
    tile: str | None = None
    subgroup_size: int | None = None
    status: Status
    reason: str | None = None
    compile_s: float | None = None
    raw: dict[str, Any] = {}
    registers: int | None = None
    spills: int | None = None
    instructions: int | None = None
    code_bytes: int | None = None
    occupancy: float | None = None
    matrix_instructions: int | None = None
    tile_registers: int | None = None
    register_budget: int | None = None
    spirv_sha: str | None = None
    robust: bool | None = None
    float_controls: Modes | None = None
    op: str | None = None
    family: str | None = None
    tile_name: str | None = None
    tuple: str | None = None
    subgroups: int | None = None


Rung = Literal["advertised", "queried", "compiles", "runs", "correct", "faster"]
RUNGS: tuple[Rung, ...] = ("advertised", "queried", "compiles", "runs", "correct", "faster")


class LadderRecord(Record, frozen=True, kw_only=True, tag="ladder"):
    """How high one cooperative-matrix tuple, or one feature, gets: `rung` is the highest reached.

    Attributes:
        rung: None where not even the first is: the device does not list the feature's extension.
        tuple: as in `coopmat` of the device record; empty where a feature is climbed.
        feature: in the specification's spelling (`VkPhysicalDeviceCooperativeMatrix2FeaturesNV.cooperativeMatrixReductions`,
            `subgroupClusteredAdd at 32`); None for a tuple.
        status: `ok` where the ladder ends by itself; else what ended it, on the rung above.
        ratio: time over the plain kernel's; None where nothing was timed.
        facts: what devices may differ in (`accumulator_bits`, `subnormal_operands`), as found.
        struct, member: of a feature; an operation on subgroups has no struct (`subgroupAdd`).
        form: the variety of the feature that was climbed with (`4x8BitPackedSigned`, `Add`); None where it has one alone.
        alone: this form goes further than the others and has a row of its own.
        subgroup_size: of an operation on subgroups.
        off: the device lists the feature's extension and has the feature off.
    """

    device: str
    tuple: dict[str, Any] = {}
    feature: str | None = None
    rung: Rung | None
    status: Status
    reason: str | None = None
    ratio: float | None = None
    facts: dict[str, Any] = {}
    struct: str | None = None
    member: str | None = None
    form: str | None = None
    alone: bool = False
    subgroup_size: int | None = None
    off: bool = False


class MissingCondition(Struct, frozen=True, kw_only=True):
    """A condition that a device does not meet; `kind` is extension, feature, property, tuple or limit, `have` null where it isn't known."""

    kind: str
    name: str
    need: Any
    have: Any
    source: str


class PriceRecord(Struct, frozen=True, kw_only=True):
    """How many times faster one op of a device would be if a gap were closed.

    Attributes:
        from_path: the path that the device takes today.
        to_path: the path that it would take with the gap closed.
        measured_on: the device whose records hold both paths.
        workloads: how many workloads the ratio is the geometric mean of.
    """

    op: str
    type: str
    ratio: float
    from_path: str
    to_path: str
    measured_on: str
    workloads: int


class GapRecord(Record, frozen=True, kw_only=True, tag="gap"):
    """How a device compares to what a path needs.

    Attributes:
        met: null if the facts don't say.
        held: how many of `total` conditions are met.
        prices: what closing the gap would be worth; empty where nothing was measured.
    """

    device: str
    path: str
    met: bool | None
    missing: list[MissingCondition]
    held: int | None = None
    total: int | None = None
    prices: list[PriceRecord] = []


class ChoiceRecord(Record, frozen=True, kw_only=True, tag="choice"):
    """The path that llama.cpp takes for a product of `m` weight rows of `k` with `n` columns; null where the facts don't say.

    `path` is `none` where llama.cpp does not take the device. `tile` (`l 128x256`) and `split_k` are a GEMM's.
    """

    device: str
    op: str
    type: str
    m: int
    n: int
    k: int
    path: str | None
    because: str
    tile: str | None = None
    split_k: int | None = None


class EventRecord(Record, frozen=True, kw_only=True, tag="event"):
    """Something that befell a worker: `what` is crash, timeout, device-lost or restart, `where` the cell or request it was on.

    `fault` is the driver's own report of a lost device (VK_EXT_device_fault), where it gives one.
    """

    device: str
    what: str
    where: str
    signal: str | None = None
    stderr_tail: str = ""
    fault: str | None = None


AnyRecord = Union[RunRecord, DriverRecord, DeviceRecord, ResultRecord, PipelineRecord, LadderRecord, GapRecord, ChoiceRecord, EventRecord]
KINDS = frozenset({"run", "driver", "device", "result", "pipeline", "ladder", "gap", "choice", "event"})

_encoder = msgspec.json.Encoder()


def encode(record: AnyRecord) -> bytes:
    """The record's line, without the newline."""
    return _encoder.encode(record)
