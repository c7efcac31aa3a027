"""Climbing the ladder: each advertised cooperative-matrix tuple, rung by rung, a lost worker costing one rung of one tuple."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from vkprobe import kernels
from vkprobe.device_facts import FlexibleTuple, KhrTuple
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerFailed
from vkprobe.kernels import Kernel
from vkprobe.llama.device import limits
from vkprobe.ops.plan import in_words
from vkprobe.protocol import Climb as ClimbTuple
from vkprobe.protocol import ClimbFeature, FeatureJob, TupleJob
from vkprobe.records import DeviceRecord, LadderRecord, Rung, Status
from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.model import Feature, Requirement
from vkprobe.session.compiling import Progress
from vkprobe.session.device import DeviceSession, GivenUp, Lost
from vkprobe.session.opening import open_request
from vkprobe.session.policy import Policy
from vkprobe.session.run import Sink

_RUN_S = 60.0  # for all that is run and timed of one tuple
_FASTER = 0.97  # of a feature: many do the same as the plain kernel, and times differ by more than nothing


class Climb(Struct, frozen=True, kw_only=True):
    """One thing to climb with: a tuple or a feature.

    Attributes:
        tuple, feature, struct, member, form, alone, subgroup_size, off: as in `LadderRecord`.
        job: what the worker climbs with; None if there is a `reason` not to.
        requirements: what its kernels ask of the device.
        pipelines: how many are compiled before the first runs.
        rung: where it starts; None where the device does not even list it.
        reason: why it can't be climbed with.
        facts: what is known of it without climbing.
    """

    label: str
    tuple: dict[str, Any] = {}
    feature: str | None = None
    struct: str | None = None
    member: str | None = None
    form: str | None = None
    alone: bool = False
    subgroup_size: int | None = None
    off: bool = False
    job: TupleJob | FeatureJob | None = None
    requirements: Sequence[Requirement] = ()
    pipelines: int = 1
    rung: Rung | None = "queried"
    reason: str | None = None
    status: Status = "skipped"
    facts: dict[str, Any] = {}


def _kernel(types: tuple[str, str, str], saturating: bool, op: str, scope: str) -> Kernel | None:
    for kernel in kernels.kernels().values():
        if (kernel.op, kernel.a, kernel.b, kernel.c, kernel.saturating, kernel.scope) == (op, *types, saturating, scope):
            return kernel
    return None


def tuple_climbs(device: DeviceRecord) -> list[Climb]:
    """A climb for every tuple that the device lists, flexible ones at twice their granularities along M and N."""
    subgroup = limits(device).subgroup
    climbs = [_climb(device, t, (t.m, t.n, t.k), t.scope, subgroup) for t in device.coopmat.khr or []]
    for flexible in device.coopmat.nv_flexible or []:
        shape = (2 * flexible.m_granularity, 2 * flexible.n_granularity, flexible.k_granularity)
        climbs.append(_climb(device, flexible, shape, flexible.scope, flexible.workgroup_invocations or subgroup))
    return climbs


def _climb(device: DeviceRecord, t: KhrTuple | FlexibleTuple, shape: tuple[int, int, int], scope: str, local: int) -> Climb:
    row = msgspec.to_builtins(t)
    label = f"{'x'.join(map(str, shape))} {t.a},{t.b}->{t.result}{' saturating' if t.saturating else ''} {scope}"
    types = (t.a, t.b, t.c)
    kernel = _kernel(types, t.saturating, "ladder-tuple", scope) if t.c == t.result else None
    if kernel is None:
        return Climb(label=label, tuple=row, reason="vkprobe has no kernel of these types and this scope")
    requirement = kernels.requirement(kernel)
    if isinstance(t, FlexibleTuple):
        requirement = flexible(requirement)
    gap = evaluate(device, requirement)
    if gap.met is not True:
        return Climb(label=label, tuple=row, status="unsupported", reason=in_words(gap.missing))
    plain = _kernel(types, False, "ladder-scalar", "")
    # With plain arithmetic a type may need more than with matrices.
    plain = plain if plain is not None and not t.saturating and evaluate(device, kernels.requirement(plain)).met else None
    job = TupleJob(
        kernel=kernel.name,
        scalar_kernel=plain.name if plain else None,
        m=shape[0],
        n=shape[1],
        k=shape[2],
        a=t.a,
        b=t.b,
        c=t.c,
        saturating=t.saturating,
        local=local,
        full_subgroups=limits(device).full_subgroups and local % limits(device).subgroup == 0,
    )
    requirements = [requirement, *([kernels.requirement(plain)] if plain else [])]
    return Climb(label=label, tuple=row, job=job, requirements=requirements)


def flexible(requirement: Requirement) -> Requirement:
    """The requirement of a kernel, with what a shape asks that only flexible dimensions have."""
    feature = ("VkPhysicalDeviceCooperativeMatrix2FeaturesNV", "cooperativeMatrixFlexibleDimensions")
    condition = Feature(alternatives=(feature,), source="its matrices' shape")
    return msgspec.structs.replace(requirement, conditions=(*requirement.conditions, condition))


def _request(climb: Climb, execute: bool) -> ClimbTuple | ClimbFeature:
    if isinstance(climb.job, FeatureJob):
        return ClimbFeature(execute=execute, job=climb.job)
    assert climb.job is not None
    return ClimbTuple(execute=execute, job=climb.job)


class LadderRun:
    """All climbs of one device; `sink` takes each record as soon as it is final."""

    def __init__(
        self, spec: DriverSpec, device: DeviceRecord, climbs: Sequence[Climb], *, run: str, policy: Policy, sink: Sink, progress: Progress
    ) -> None:
        request = open_request(device, [r for climb in climbs for r in climb.requirements])
        self._device, self._climbs, self._run, self._policy, self._sink, self._progress = device, climbs, run, policy, sink, progress
        self._session = DeviceSession(spec, request, run, device.device, sink)

    def climb(self) -> None:
        """Bring every climb to its end."""
        given_up: str | None = None
        try:
            for done, climb in enumerate(self._climbs):
                self._progress.step(self._device.device, f"ladder {climb.label}", done, len(self._climbs))
                if climb.reason is not None:
                    self._end(climb, climb.rung, climb.status, climb.reason)
                elif given_up is not None:
                    self._end(climb, climb.rung, "skipped", given_up)
                else:
                    try:
                        self._one(climb)
                    except GivenUp as error:
                        given_up = str(error)
                        self._end(climb, climb.rung, "skipped", given_up)
        finally:
            self._session.close()

    def _one(self, climb: Climb) -> None:
        rung = climb.rung

        def reached(update: dict[str, Any]) -> None:
            nonlocal rung
            rung = update.get("rung", rung)

        where = f"ladder {climb.label}"
        try:
            self._session.open(where)
            executes = self._session.opened.executes
            timeout = self._policy.compile_limit_s * climb.pipelines + _RUN_S
            reply = self._session.ask(_request(climb, executes), where=where, timeout=timeout, progress=reached)
        except WorkerFailed as error:
            return self._end(climb, rung, "error", error.reason)
        except Lost as lost:
            return self._end(climb, rung, lost.end, lost.reason)
        if not executes:
            reason = "a null device compiles and executes nothing" if self._device.null else "the device executed nothing"
            return self._end(climb, rung, "noop", reason)
        if reply.wrong is not None:
            return self._end(climb, "runs", "wrong", reply.wrong, facts=reply.facts)
        ratio = reply.ratio
        best: Rung = "faster" if ratio is not None and ratio < (_FASTER if climb.feature else 1) else "correct"
        why = None if climb.feature else "no plain kernel to compare with"
        if ratio is not None:
            why = None if best == "faster" else f"takes {ratio:.2f} times the plain kernel's time"
        return self._end(climb, best, "ok", why, ratio=ratio, facts=reply.facts)

    def _end(
        self,
        climb: Climb,
        rung: Rung | None,
        status: Status,
        reason: str | None,
        *,
        ratio: float | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self._sink(
            LadderRecord(
                run=self._run,
                device=self._device.device,
                tuple=climb.tuple,
                feature=climb.feature,
                struct=climb.struct,
                member=climb.member,
                form=climb.form,
                alone=climb.alone,
                subgroup_size=climb.subgroup_size,
                off=climb.off,
                rung=rung,
                status=status,
                reason=reason,
                ratio=ratio,
                facts={**climb.facts, **(facts or {})},
            )
        )
