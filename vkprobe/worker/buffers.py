"""The device memory of cells: what each op reads and writes, shared where it can be, and the rotation that keeps weights cold."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from vkprobe.footprint import Footprint, footprint, source_key, workload_key
from vkprobe.jobs import Job
from vkprobe.worker.session import Session
from vkprobe.worker.vk.core import VkError
from vkprobe.worker.vk.device import Buffer

_MOST_COPIES = 512  # each has a descriptor set: of lavapipe's each is a mapping, of which Linux gives a process 65530
_LEAST_ROTATION = 1 << 20
_OUT_OF_MEMORY = (-1, -2)  # VK_ERROR_OUT_OF_{HOST,DEVICE}_MEMORY


class Source:
    """What an op reads that rotates, weights mostly; `ready` once it holds what is timed."""

    def __init__(self, session: Session, job: Job, size: int) -> None:
        self.bytes = size
        self.buffer = Buffer(session.device, _padded(size), job.source_memory)
        self.ready = False


class Workload:
    """The device buffers of one job's shape: source (shared with other ops and N), activations, scratch, output.

    `ready` once the activations are those that are timed.
    """

    def __init__(self, session: Session, job: Job, source: Source, sizes: Footprint) -> None:
        self.source = source
        self.ready = False
        self.output_bytes = sizes.output
        self.working_set = sizes.activations + sizes.scratch + sizes.output
        self._made: list[Buffer] = []
        self.output = self._buffer(session, sizes.output, job.output_memory)
        self.activations = self._buffer(session, sizes.activations) if sizes.activations else self.output
        self.scratch = self._buffer(session, sizes.scratch) if sizes.scratch else None

    def _buffer(self, session: Session, size: int, memory: str = "device") -> Buffer:
        try:
            made = Buffer(session.device, _padded(size), memory)
        except VkError:
            self.destroy()
            raise
        self._made.append(made)
        return made

    def destroy(self) -> None:
        """Give the buffers back, but for the source."""
        for buffer in self._made:
            buffer.destroy()
        self._made.clear()


def _padded(size: int) -> int:
    return -(-size // 16) * 16


class Buffers:
    """All buffers of a session's cells."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._workloads: dict[tuple[Hashable, ...], Workload] = {}
        self._sources: dict[tuple[Hashable, ...], Source] = {}
        self._rotation: Buffer | None = None
        self._rotation_bytes = session.request.rotation_bytes
        self._rotation_holds: Source | None = None

    def workload(self, job: Job) -> Workload:
        """The job's buffers, made where there are none; raises VkError where memory is out."""
        sizes, shared, key = footprint(job), source_key(job), workload_key(job)
        if key not in self._workloads:
            if shared not in self._sources:
                self._sources[shared] = Source(self._session, job, sizes.source)
            self._workloads[key] = Workload(self._session, job, self._sources[shared], sizes)
        return self._workloads[key]

    def sweep(self, used: Iterable[Workload]) -> None:
        """Destroy what no cell has any more."""
        kept = {id(workload) for workload in used}
        for key, workload in list(self._workloads.items()):
            if id(workload) not in kept:
                del self._workloads[key]
                workload.destroy()
        sources = {id(workload.source) for workload in self._workloads.values()}
        for key, source in list(self._sources.items()):
            if id(source) not in sources:
                del self._sources[key]
                source.buffer.destroy()
                self._empty_rotation(source)

    def _empty_rotation(self, source: Source) -> None:
        if self._rotation_holds is source:
            self._rotation_holds = None

    def forget(self, workload: Workload) -> None:
        """The workload's source and activations are about to be overwritten."""
        workload.ready = workload.source.ready = False
        self._empty_rotation(workload.source)

    def place(self, job: Job, workload: Workload, fill: Callable[[], None]) -> tuple[Buffer, list[int]]:
        """The buffer and the offsets that the job's source rotates over, filled; `fill` puts what is timed in place."""
        source = workload.source
        if not (source.ready and workload.ready):  # another cell's verification ended half-way
            fill()
        alignment = max(256, self._session.device.storage_alignment)
        step = -(-source.bytes // alignment) * alignment
        if job.hot or self._rotation_bytes < 2 * step:
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
        """As much as was asked for, or as much as there is; None where there is nothing to speak of."""
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
