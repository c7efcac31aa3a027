"""How a kernel was built: which records of a cell or pipeline are of the same build, and why two builds differ."""

from __future__ import annotations

from typing import Any, Protocol

from vkprobe.records import Modes, PipelineRecord, ResultRecord


class Build(Protocol):
    """Fields that identify how a pipeline was built: those of result and pipeline records, and of plans."""

    @property
    def spirv_sha(self) -> str | None:
        """SHA-256 of the module."""

    @property
    def tile(self) -> str | None:
        """The tile in words."""

    @property
    def subgroup_size(self) -> int | None:
        """The subgroup size that it was compiled for."""

    @property
    def robust(self) -> bool | None:
        """Whether buffer accesses are bounds-checked."""

    @property
    def float_controls(self) -> Modes | None:
        """Execution modes that were added to the module."""


def build_key(build: Build) -> tuple[Any, ...]:
    """Key of a pipeline's build. A record whose key differs no longer stands for its cell, as after an upgrade of vkprobe."""
    return build.spirv_sha, build.tile, build.subgroup_size, build.robust, build.float_controls or ()


def kernel_change(old: ResultRecord | PipelineRecord, new: ResultRecord | PipelineRecord) -> str | None:
    """Why two records differ in more than the driver: vkprobe itself changed in between. None if it didn't."""
    return build_change(old, new, same_kernel=old.kernel == new.kernel)


def build_change(old: Build, new: Build, *, same_kernel: bool) -> str | None:
    """As `kernel_change`, for builds of kernels that have the same name or not."""
    if same_kernel and None not in (old.spirv_sha, new.spirv_sha) and old.spirv_sha != new.spirv_sha:
        return "vkprobe's SPIR-V module changed"
    # Where both records say it, the difference is the driver's own: it can leave out checks or can't, it has a mode or doesn't.
    if None in (old.robust, new.robust) and (old.robust or new.robust):
        return "one side checks bounds (robustBufferAccess); the other comes from a vkprobe that left the checks out where the device can"
    if None in (old.float_controls, new.float_controls) and (old.float_controls or new.float_controls):
        return (
            "one side sets f16's float controls; the other comes from a vkprobe that didn't record them and set them for f16 modules only"
        )
    return None
