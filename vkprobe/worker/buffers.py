"""The device memory of programs: buffers by key, shared where they can be, and the rotation that keeps weights cold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from vkprobe.program import Buffer as Description
from vkprobe.program import Program
from vkprobe.worker.session import Session
from vkprobe.worker.vk.core import VkError
from vkprobe.worker.vk.device import Buffer

_MOST_COPIES = 512  # each has a descriptor set, which lavapipe backs with a mapping; Linux gives a process 65530 of those
_LEAST_ROTATION = 1 << 20
_OUT_OF_MEMORY = (-1, -2)  # VK_ERROR_OUT_OF_{HOST,DEVICE}_MEMORY
_READ = ("input", "weights")


class Shared:
    """A device buffer that programs share; `ready` once it holds what is timed."""

    def __init__(self, session: Session, described: Description) -> None:
        self.bytes = described.bytes
        self.buffer = Buffer(session.device, -(-described.bytes // 16) * 16, described.memory)
        self.ready = False


class Bound:
    """A program's buffers by name."""

    def __init__(self, program: Program, buffers: Mapping[str, Shared]) -> None:
        self._program, self.buffers = program, buffers

    def __getitem__(self, name: str) -> Shared:
        return self.buffers[name]

    @property
    def source(self) -> Shared:
        """The buffer that rotates, or the first one that is read."""
        return self.buffers[self._program.source.name]

    @property
    def output(self) -> Shared:
        """The result."""
        return self.buffers[self._program.output.name]

    @property
    def inputs(self) -> list[Shared]:
        """The buffers that the program reads."""
        return [self.buffers[b.name] for b in self._program.buffers if b.role in _READ]

    @property
    def written(self) -> list[Shared]:
        """The buffers that the program writes."""
        return [self.buffers[b.name] for b in self._program.buffers if b.role not in _READ]

    @property
    def beside_source(self) -> int:
        """Bytes of all buffers but the source."""
        return sum(shared.bytes for shared in self.buffers.values()) - self.source.bytes


class Buffers:
    """All buffers of a session's programs."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shared: dict[str, Shared] = {}
        self._rotation: Buffer | None = None
        self._rotation_bytes = session.request.rotation_bytes
        self._rotation_holds: Shared | None = None

    def bind(self, program: Program) -> Bound:
        """The program's buffers, created where there are none; raises VkError if memory is out."""
        for described in program.buffers:
            if described.key not in self._shared:
                self._shared[described.key] = Shared(self._session, described)
        return Bound(program, {described.name: self._shared[described.key] for described in program.buffers})

    def sweep(self, used: Iterable[Bound]) -> None:
        """Destroy the buffers that no program uses any more."""
        kept = {id(shared) for bound in used for shared in bound.buffers.values()}
        for key, shared in list(self._shared.items()):
            if id(shared) not in kept:
                del self._shared[key]
                shared.buffer.destroy()
                self._empty_rotation(shared)

    def _empty_rotation(self, source: Shared) -> None:
        if self._rotation_holds is source:
            self._rotation_holds = None

    def forget(self, bound: Bound) -> None:
        """The program's inputs are about to be overwritten."""
        for shared in bound.inputs:
            shared.ready = False
        self._empty_rotation(bound.source)

    def place(self, program: Program, bound: Bound, fill: Callable[[], None]) -> tuple[Buffer, list[int]]:
        """The buffer and the offsets that the program's source rotates over, filled; `fill` puts what is timed in place."""
        source = bound.source
        if not all(shared.ready for shared in bound.inputs):  # another program's verification ended half-way
            fill()
        alignment = max(256, self._session.device.storage_alignment)
        step = -(-source.bytes // alignment) * alignment
        if not program.source.rotates or self._rotation_bytes < 2 * step:
            return source.buffer, [0]
        rotation = self._rotation or self._allocate_rotation()
        copies = min(_MOST_COPIES, rotation.size // step) if rotation is not None else 1
        if rotation is None or copies < 2:
            return source.buffer, [0]
        offsets = [i * step for i in range(copies)]
        if self._rotation_holds is not source:
            self._session.commands.copy(source.buffer, rotation, [(0, offset, source.bytes) for offset in offsets])
            self._rotation_holds = source
        return rotation, offsets

    def _allocate_rotation(self) -> Buffer | None:
        """Allocate the bytes asked for, or as many as there are; None if that isn't worth rotating over."""
        while self._rotation is None and self._rotation_bytes >= _LEAST_ROTATION:
            self._rotation = self._try_buffer(self._rotation_bytes)
            if self._rotation is None:
                self._rotation_bytes = self._rotation_bytes // 2 // 16 * 16
        return self._rotation

    def _try_buffer(self, size: int) -> Buffer | None:
        try:
            return Buffer(self._session.device, size, "device")
        except VkError as error:
            if error.result not in _OUT_OF_MEMORY:
                raise
            return None
