"""A program: the stages and buffers by which a worker runs a cell. Plans hold one; requests carry it to the worker."""

from __future__ import annotations

from typing import Literal, Union

from msgspec import Struct

from vkprobe.cell import Cell

Memory = Literal["device", "upload", "readback"]
"""The device's own memory, or the host's for writing or reading."""


ActivationForm = Literal["f32", "f16", "bf16", "q8_1"]
Role = Literal["input", "weights", "scratch", "output"]


class Buffer(Struct, frozen=True, kw_only=True):
    """A buffer of a program.

    Attributes:
        name: what stages bind it by.
        key: programs whose buffers have equal keys share one.
        bytes: its size; the worker rounds it up.
        rotates: its dispatches go through copies of it, so that it stays out of caches.
    """

    name: str
    role: Role
    key: str
    bytes: int
    memory: Memory = "device"
    rotates: bool = False


class Dispatch(Struct, frozen=True, kw_only=True, tag="dispatch"):
    """A stage that dispatches a kernel.

    Attributes:
        kernel: name of the SPIR-V module.
        constants: specialisation constants, by the names that are declared beside the shader.
        push: push constants, 32-bit words.
        bindings: names of buffers, in the order of binding numbers.
        groups: workgroups.
        subgroup_size: required of the driver; None leaves the choice to it.
        full_subgroups: required.
        robust: leave buffer accesses bounds-checked if the device can do without.
        float_controls: execution modes to add to the module, as `DenormPreserve 16`.
    """

    kernel: str
    constants: dict[str, int] = {}
    push: tuple[int, ...] = ()
    bindings: tuple[str, ...] = ()
    groups: tuple[int, int, int]
    subgroup_size: int | None = None
    full_subgroups: bool = False
    robust: bool = False
    float_controls: tuple[str, ...] = ()


class Transfer(Struct, frozen=True, kw_only=True, tag="transfer"):
    """A stage that copies a whole buffer by the device's own command."""

    source: str
    target: str


Stage = Union[Dispatch, Transfer]


class Conversion(Struct, frozen=True, kw_only=True):
    """The form in which a kernel reads activations, and how many rows lie on the device.

    Attributes:
        form: f32 (as they come), f16, bf16 or q8_1 (in groups of four blocks).
        rows: N, or N padded to whole tiles with rows of zeros, so that the kernel needs no bounds.
    """

    form: ActivationForm
    rows: int

    @property
    def converted(self) -> bool:
        """Whether a conversion comes before the product."""
        return self.form != "f32"


class Program(Struct, frozen=True, kw_only=True):
    """Everything a worker needs to run and verify a cell: no choice is left.

    Attributes:
        cell: chooses inputs, reference and bound.
        stages: in the order of dispatch, a memory barrier after each.
        buffers: each once.
        conversions: by buffer.
        chain: the longest run of products that one accumulator sums; None if nothing is summed.
        staged: the kernel stages decoded weights in f16.
    """

    cell: Cell
    stages: tuple[Stage, ...]
    buffers: tuple[Buffer, ...]
    conversions: dict[str, Conversion] = {}
    chain: int | None = None
    staged: bool = False

    def buffer(self, name: str) -> Buffer:
        """The buffer of this name; raises KeyError if there is none."""
        return next(b for b in self.buffers if b.name == name)

    @property
    def output(self) -> Buffer:
        """The buffer that holds the result."""
        return next(b for b in self.buffers if b.role == "output")

    @property
    def source(self) -> Buffer:
        """The buffer that rotates, or the first one that is read."""
        return next((b for b in self.buffers if b.rotates), self.buffers[0])

    @property
    def first(self) -> Dispatch | None:
        """The kernel that is dispatched first; None for a transfer."""
        stage = self.stages[0]
        return stage if isinstance(stage, Dispatch) else None
