"""Features that climb the ladder besides tuples: the parts of extensions that drivers implement one by one, each with its kernels.

A feature whose extension a device does not list is no row, unless all are asked for; one that is off is never compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from vkprobe.llama.device import Limits, limits
from vkprobe.ops.plan import in_words
from vkprobe.protocol import FeatureJob
from vkprobe.records import DeviceRecord
from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.facts import has_extension, lookup
from vkprobe.requirements.model import Property
from vkprobe.requirements.promotions import PROVIDERS, base_name
from vkprobe.session.ladder import Climb
from vkprobe.session.ladder_matrices import (
    Part,
    accumulators,
    blocks,
    conversions,
    kernel_part,
    over_matrices,
    product,
    reductions,
    tensors,
)

_NV = "VkPhysicalDeviceCooperativeMatrix2FeaturesNV"
_DECODE = "VkPhysicalDeviceCooperativeMatrixDecodeVectorFeaturesNV"
_EXT = "VkPhysicalDeviceCooperativeMatrixMaintenance1FeaturesEXT"
_BF16 = "VkPhysicalDeviceShaderBfloat16FeaturesKHR"
_FLOAT8 = "VkPhysicalDeviceShaderFloat8FeaturesEXT"
_OCP = "VkPhysicalDeviceShaderOCPMicroscalingTypesFeaturesEXT"
_MIXED = "VkPhysicalDeviceShaderMixedFloatDotProductFeaturesVALVE"
_HALF = "VkPhysicalDeviceShaderFloat16Int8Features"
_INTEGER_DOT = "VkPhysicalDeviceShaderIntegerDotProductFeatures"
_INTEGER_DOT_PROPERTIES = "VkPhysicalDeviceShaderIntegerDotProductProperties"

_LOCAL = 64
_BEYOND = "beyond one granule"
_UNPROVEN = {"kernel": "unproven"}


class _Feature(Struct, frozen=True, kw_only=True):
    """One row of the ladder.

    Attributes:
        also: distinguishes rows of the same feature, as part of the name.
        form: the same in the words of records; `also` where None.
        alone: this form goes further than the others and has a row of its own.
        climb: what to climb with on a device that has the feature on: parts, a climb, or why there is none; None for no row.
        facts: of the device, or of the kernels.
    """

    struct: str
    member: str
    also: str = ""
    form: str | None = None
    alone: bool = False
    climb: Callable[[DeviceRecord], Sequence[Part] | Climb | str | None]
    facts: Callable[[DeviceRecord], dict[str, Any]] = lambda device: {}

    @property
    def name(self) -> str:
        """The feature's name in the specification's spelling."""
        return f"{self.struct}.{self.member}" + (f" {self.also}" if self.also else "")


def feature_climbs(device: DeviceRecord, *, everything: bool = False) -> list[Climb]:
    """A climb for every feature whose extension `device` lists; with `everything` a row for the others too."""
    climbs = [climb for feature in _FEATURES if (climb := _climb(device, feature, everything)) is not None]
    return climbs + _subgroup_climbs(device)


def _climb(device: DeviceRecord, feature: _Feature, everything: bool) -> Climb | None:
    on = lookup(device.features, feature.struct, feature.member)
    empty = Climb(
        label=feature.name,
        feature=feature.name,
        struct=feature.struct,
        member=feature.member,
        form=feature.form or feature.also or None,
        alone=feature.alone,
        facts=feature.facts(device),
    )
    if on is None and feature.alone:
        return None
    if on is None:
        provider = PROVIDERS[base_name(feature.struct)].extension
        listed = provider is not None and has_extension(device, provider)
        reason = f"what {provider} offers here is unknown" if listed else f"the device does not list {provider}"
        rung = "advertised" if listed else None
        replaced = msgspec.structs.replace(empty, rung=rung, status="unsupported", reason=reason, facts={})
        return replaced if everything or listed else None
    if not on and feature.alone:
        return None
    if not on:
        reason = f"{feature.struct}.{feature.member} is off"
        return msgspec.structs.replace(empty, rung="advertised", status="unsupported", reason=reason, facts={}, off=True)
    outcome = feature.climb(device)
    if outcome is None:
        return None
    if isinstance(outcome, str):
        return msgspec.structs.replace(empty, status="skipped", reason=outcome)
    if isinstance(outcome, Climb):
        climbed = ("job", "requirements", "pipelines", "rung", "reason", "status")
        return msgspec.structs.replace(empty, **{name: getattr(outcome, name) for name in climbed})
    return _with_parts(device, empty, outcome)


def _with_parts(device: DeviceRecord, empty: Climb, parts: Sequence[Part]) -> Climb:
    gaps = [evaluate(device, part.requirement) for part in parts]
    for gap in gaps:
        if gap.met is not True:
            return msgspec.structs.replace(empty, status="unsupported", reason=in_words(gap.missing))
    steps, asked = [], [part.requirement for part in parts]
    for part in parts:
        comparable = part.plain is not None and evaluate(device, part.plain).met is True
        if part.plain is not None and comparable:
            asked.append(part.plain)
        steps.append(part.step if comparable else msgspec.structs.replace(part.step, plain_kernel=None))
    return msgspec.structs.replace(empty, job=FeatureJob(steps=steps), requirements=asked, pipelines=len(steps))


def _properties2(device: DeviceRecord) -> Climb:
    rows = device.coopmat.ext or []
    reason = f"a query, no kernel; combinations that it lists: {len(rows)}" if rows else "the query lists no combination"
    return Climb(label="", status="ok" if rows else "wrong", reason=reason)


def _numbers(*types: str, encodes: bool) -> Callable[[DeviceRecord], Sequence[Part]]:
    return lambda device: [kernel_part(f"ladder_number_{t}", "numbers", local=_LOCAL, type=t, encodes=encodes) for t in types]


def _bf16_dot(device: DeviceRecord) -> Sequence[Part]:
    return [
        kernel_part(
            f"ladder_float_dot_{name}", "float_dot", local=_LOCAL, what=name, vector="bf16", result="bf16", width=width, accumulates=False
        )
        for name, width in (("bf16", 2), ("bf16x4", 4))
    ]


def _mixed_dot(*types: tuple[str, str]) -> Callable[[DeviceRecord], Sequence[Part]]:
    def climb(device: DeviceRecord) -> Sequence[Part]:
        return [
            kernel_part(
                f"ladder_mixed_dot_{vector}_{result}",
                "float_dot",
                local=_LOCAL,
                plain=None if result == "bf16" else f"ladder_plain_dot_{vector}_{result}",  # bf16 has no arithmetic to compare with
                what=f"{vector} to {result}",
                vector=vector,
                result=result,
                width=2 if vector in ("f16", "bf16") else 4,
                accumulates=True,
            )
            for vector, result in types
        ]

    return climb


def _half(device: DeviceRecord) -> Sequence[Part]:
    return [kernel_part("ladder_half_f16", "half", local=_LOCAL, plain="ladder_half_f32")]


def _unproven(device: DeviceRecord) -> dict[str, Any]:
    return _UNPROVEN


def _integer_dots() -> Iterator[_Feature]:
    for saturating in (False, True):
        for form, short in (("4x8BitPacked", "packed"), ("8Bit", "vector")):
            for signs, signedness in (("signed", "Signed"), ("unsigned", "Unsigned"), ("mixed", "MixedSignedness")):
                yield _integer_dot(saturating, form, short, signs, signedness)


def _integer_dot(saturating: bool, form: str, short: str, signs: str, signedness: str) -> _Feature:
    member = f"integerDotProduct{'AccumulatingSaturating' * saturating}{form}{signedness}Accelerated"

    def climb(device: DeviceRecord) -> Sequence[Part]:
        plain, mode = f"ladder_dot_plain_{signs}", int(saturating)
        return [kernel_part(f"ladder_dot_{short}_{signs}", "integer_dot", local=_LOCAL, plain=plain, signs=signs, mode=mode)]

    def facts(device: DeviceRecord) -> dict[str, Any]:
        return {"accelerated": lookup(device.properties, _INTEGER_DOT_PROPERTIES, member)}

    variety = f"{form}{signedness}"
    return _Feature(
        struct=_INTEGER_DOT,
        member="shaderIntegerDotProduct",
        also=f"{'AccumulatingSaturating' * saturating}{variety}",
        form=f"{'saturating ' * saturating}{variety}",
        climb=climb,
        facts=facts,
    )


_FEATURES: tuple[_Feature, ...] = (
    _Feature(struct=_NV, member="cooperativeMatrixWorkgroupScope", climb=product("workgroup", (2, 2, 1))),
    _Feature(struct=_NV, member="cooperativeMatrixFlexibleDimensions", climb=product(None, (3, 2, 2))),
    *(
        _Feature(struct=_NV, member=member, also=_BEYOND * several, alone=several, climb=over_matrices(make, several=several))
        for member, make in (
            ("cooperativeMatrixReductions", reductions("")),
            ("cooperativeMatrixConversions", conversions("")),
            ("cooperativeMatrixPerElementOperations", accumulators("element", "elements")),
            ("cooperativeMatrixTensorAddressing", tensors),
            ("cooperativeMatrixBlockLoads", blocks("block")),
        )
        for several in (False, True)
    ),
    _Feature(struct=_DECODE, member="cooperativeMatrixDecodeVector", climb=over_matrices(blocks("block_vector")), facts=_unproven),
    _Feature(struct=_EXT, member="cooperativeMatrixProperties2", climb=_properties2, facts=_unproven),
    *(
        _Feature(struct=_EXT, member=member, climb=over_matrices(make, scopes=("subgroup",)), facts=_unproven)
        for member, make in (
            ("cooperativeMatrixReductions", reductions("ext_")),
            ("cooperativeMatrixConversions", conversions("ext_")),
            ("cooperativeMatrixPerElementOperations", accumulators("ext_element", "elements")),
            ("cooperativeMatrixGetCoordinate", accumulators("ext_coordinate", "coordinates")),
        )
    ),
    _Feature(struct=_BF16, member="shaderBFloat16Type", climb=_numbers("bf16", encodes=True)),
    _Feature(struct=_BF16, member="shaderBFloat16DotProduct", climb=_bf16_dot, facts=_unproven),
    _Feature(struct=_FLOAT8, member="shaderFloat8", climb=_numbers("e4m3", "e5m2", encodes=True), facts=_unproven),
    _Feature(struct=_OCP, member="shaderFloat4", climb=_numbers("e2m1", encodes=False), facts=_unproven),
    _Feature(struct=_OCP, member="shaderFloat6", climb=_numbers("e3m2", "e2m3", encodes=False), facts=_unproven),
    _Feature(struct=_OCP, member="shaderFloat8UnsignedE8M0", climb=_numbers("ue8m0", encodes=False), facts=_unproven),
    _Feature(struct=_OCP, member="shaderMXInt8", climb=_numbers("mxint8", encodes=False), facts=_unproven),
    *(
        _Feature(struct=_MIXED, member=f"shaderMixedFloatDotProduct{member}", climb=_mixed_dot(*types), facts=_unproven)
        for member, types in (
            ("Float16AccFloat32", [("f16", "f32")]),
            ("Float16AccFloat16", [("f16", "f16")]),
            ("BFloat16Acc", [("bf16", "f32"), ("bf16", "bf16")]),
            ("Float8AccFloat32", [("e4m3", "f32"), ("e5m2", "f32")]),
        )
    ),
    _Feature(struct=_HALF, member="shaderFloat16", climb=_half),
    *_integer_dots(),
)
"""Every feature, in the order of the table; those whose kernels no driver at hand has run say so."""

_OPERATIONS = (
    ("Add", "add"),
    ("Max", "max"),
    ("ClusteredAdd", "clustered_add"),
    ("ClusteredMax", "clustered_max"),
    ("InclusiveAdd", "inclusive_add"),
    ("Shuffle", "shuffle"),
    ("ShuffleXor", "shuffle_xor"),
    ("Broadcast", "broadcast"),
    ("BroadcastFirst", "broadcast_first"),
    ("Ballot", "ballot"),
    ("All", "all"),
    ("Any", "any"),
)
_CLUSTER = 8


def _subgroup_climbs(device: DeviceRecord) -> list[Climb]:
    """Each operation at each subgroup size that may be required; at the default one where none may."""
    device_limits = limits(device)
    sizes = [device_limits.subgroup]
    if device_limits.required_sizes is not None:
        low, high = device_limits.required_sizes
        sizes = [1 << i for i in range(low.bit_length() - 1, high.bit_length())]
    return [_subgroup_climb(device, device_limits, name, operation, size) for size in sizes for name, operation in _OPERATIONS]


def _subgroup_climb(device: DeviceRecord, device_limits: Limits, name: str, operation: str, size: int) -> Climb:
    required = device_limits.required_sizes is not None
    member = f"subgroup{name}"
    label = f"{member} at {size}"
    empty = Climb(label=label, feature=label, member=member, form=name, subgroup_size=size, rung="advertised")
    if operation.startswith("clustered") and size < _CLUSTER:
        return msgspec.structs.replace(empty, status="unsupported", reason=f"clusters of {_CLUSTER} do not fit a subgroup of {size}")
    local = min(2 * size, device_limits.workgroup_invocations)
    part = kernel_part(
        f"ladder_subgroup_{operation}",
        "subgroup",
        local=local,
        subgroup_size=size if required else None,
        full_subgroups=device_limits.full_subgroups and local % size == 0,
        operation=operation,
        size=size,
        required=required,
    )
    stages = Property(
        struct="VkPhysicalDeviceSubgroupProperties",
        member="supportedStages",
        need=("VK_SHADER_STAGE_COMPUTE_BIT",),
        source="kernels/ladder",
    )
    requirement = msgspec.structs.replace(part.requirement, conditions=(stages, *part.requirement.conditions))
    climb = _with_parts(device, empty, [part._replace(requirement=requirement)])
    return climb if climb.reason else msgspec.structs.replace(climb, rung="queried")
