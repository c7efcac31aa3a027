"""Cells of the caps table: what one device record says of one capability, in a few words.

Every cell begins with yes, no, partial or unknown, or with the value itself. Unknown means that the record doesn't say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from vkprobe.records import DeviceRecord
from vkprobe.requirements.facts import cannot_have, has_extension, lookup
from vkprobe.units import size

Cell = Callable[[DeviceRecord], str]

UNKNOWN = "unknown"
_COMPUTE_STAGE = 0x20
_SUBGROUP_OPERATIONS = (
    *((1, "basic"), (2, "vote"), (4, "arithmetic"), (8, "ballot"), (0x10, "shuffle"), (0x20, "shuffle relative"), (0x40, "clustered")),
    (0x80, "quad"),
)
_ROTATE, _PARTITIONED = 0x200, 0x100

COOPMAT2_FEATURES = {
    "cooperativeMatrixWorkgroupScope": "workgroup scope",
    "cooperativeMatrixFlexibleDimensions": "flexible dimensions",
    "cooperativeMatrixReductions": "reductions",
    "cooperativeMatrixConversions": "conversions",
    "cooperativeMatrixPerElementOperations": "per-element ops",
    "cooperativeMatrixTensorAddressing": "tensor addressing",
    "cooperativeMatrixBlockLoads": "block loads",
}
_COOPMAT2 = "VkPhysicalDeviceCooperativeMatrix2FeaturesNV"


def feature(device: DeviceRecord, struct: str, member: str, extension: str | None = None) -> bool | None:
    """Whether a feature is on; None where the record doesn't say. `extension` is the one that alone brings the struct."""
    value = lookup(device.features, struct, member)
    if value is not None:
        return bool(value)
    if cannot_have(device, struct) or (extension is not None and has_extension(device, extension) is False):
        return False
    return None


def answer(value: bool | None) -> str:
    """Yes, no, or unknown.

    >>> answer(None)
    'unknown'
    """
    return UNKNOWN if value is None else "yes" if value else "no"


def of_features(struct: str, members: dict[str, str], extension: str | None = None, *, name_missing: bool = True) -> Cell:
    """A cell for features that belong together: yes, no, `no (listed, off)`, or how many are on and which are missing.

    Args:
        struct: their struct.
        members: member -> the words that stand for it.
        extension: the extension that alone brings the struct, where there is one.
        name_missing: also name what is missing where some are on.
    """

    def cell(device: DeviceRecord) -> str:
        values = {words: feature(device, struct, member, extension) for member, words in members.items()}
        if all(values.values()):
            return "yes"
        if all(v is None for v in values.values()):
            return UNKNOWN
        on = [words for words, v in values.items() if v]
        if not on:
            listed = extension is not None and has_extension(device, extension)
            return "no (listed, off)" if listed else answer(None if None in values.values() else False)
        missing = [words + ("?" if v is None else "") for words, v in values.items() if not v]
        return f"partial: {len(on)} of {len(values)}" + (f" (missing {', '.join(missing)})" if name_missing else "")

    return cell


def coopmat2_missing(device: DeviceRecord) -> str:
    """Which of NV_cooperative_matrix2's seven features a device that has some lacks."""
    values = {words: feature(device, _COOPMAT2, member, "VK_NV_cooperative_matrix2") for member, words in COOPMAT2_FEATURES.items()}
    if all(v is None for v in values.values()):
        return UNKNOWN
    if not any(values.values()) or all(values.values()):
        return "-"
    return ", ".join(words for words, v in values.items() if not v)


def khr_coopmat(device: DeviceRecord) -> str:
    """KHR cooperative matrix: whether it is on, and how many tuples it has."""
    on = feature(device, "VkPhysicalDeviceCooperativeMatrixFeaturesKHR", "cooperativeMatrix", "VK_KHR_cooperative_matrix")
    tuples = device.coopmat.khr
    if on is None:
        return UNKNOWN if not tuples else f"{UNKNOWN}, {len(tuples)} tuples"
    if not on:
        return "no (listed, off)" if has_extension(device, "VK_KHR_cooperative_matrix") else "no"
    return "yes, tuples unknown" if tuples is None else f"yes, {len(tuples)} tuples" if tuples else "no tuples"


def cooperative_vector(device: DeviceRecord) -> str:
    """NV cooperative vector: which of its features are on, and how many combinations of types its query gave."""
    head = of_features(
        "VkPhysicalDeviceCooperativeVectorFeaturesNV",
        {"cooperativeVector": "inference", "cooperativeVectorTraining": "training"},
        "VK_NV_cooperative_vector",
    )(device)
    rows = device.coopmat.cooperative_vector
    return f"{head}, {len(rows)} combinations" if rows else head


def _shapes(shapes: Iterable[str], limit: int = 3) -> str:
    shape_names = list(dict.fromkeys(shapes))
    more = f" +{len(shape_names) - limit}" if len(shape_names) > limit else ""
    return " ".join(shape_names[:limit]) + more if shape_names else "no"


def coopmat_shapes(a: Sequence[str], accumulators: Sequence[str]) -> Cell:
    """A cell that lists the subgroup-scope shapes whose A and B are of types `a` and whose C and result of `accumulators`."""

    def cell(device: DeviceRecord) -> str:
        if device.coopmat.khr is None:
            return UNKNOWN
        return _shapes(
            f"{t.m}x{t.n}x{t.k}"
            for t in device.coopmat.khr
            if t.a in a and t.b in a and t.c == t.result and t.c in accumulators and t.scope == "subgroup"
        )

    return cell


def flexible(device: DeviceRecord) -> str:
    """NV flexible dimensions: how many entries, at which scopes, up to which dimension."""
    rows = device.coopmat.nv_flexible
    if rows is None:
        return UNKNOWN
    if not rows:
        return "no"
    scopes = ", ".join(dict.fromkeys(r.scope for r in rows))
    largest = lookup(device.properties, "VkPhysicalDeviceCooperativeMatrix2PropertiesNV", "cooperativeMatrixFlexibleDimensionsMaxDimension")
    return f"{len(rows)} entries to {UNKNOWN if largest is None else largest} ({scopes})"


def ext_coopmat(device: DeviceRecord) -> str:
    """EXT cooperative matrix maintenance1: which of its features are on, and how many rows its query gave."""
    head = of_features(
        "VkPhysicalDeviceCooperativeMatrixMaintenance1FeaturesEXT",
        {
            "cooperativeMatrixProperties2": "properties2",
            "cooperativeMatrixReductions": "reductions",
            "cooperativeMatrixConversions": "conversions",
            "cooperativeMatrixPerElementOperations": "per-element ops",
            "cooperativeMatrixGetCoordinate": "coordinates",
        },
        "VK_EXT_cooperative_matrix_maintenance1",
        name_missing=False,
    )(device)
    rows = device.coopmat.ext
    return f"{head}, tuples: {len(rows)}" if rows else head


def integer_dot(device: DeviceRecord) -> str:
    """Integer dot product, and whether the packed signed 4x8 form (llama.cpp's) is accelerated."""
    on = feature(device, "VkPhysicalDeviceShaderIntegerDotProductFeatures", "shaderIntegerDotProduct")
    if not on:
        return answer(on)
    fast = lookup(
        device.properties,
        "VkPhysicalDeviceShaderIntegerDotProductProperties",
        "integerDotProduct4x8BitPackedSignedAccelerated",
    )
    return "yes, 4x8 accelerated" if fast else "yes, acceleration unknown" if fast is None else "partial: 4x8 not accelerated"


def storage(struct: str, arithmetic: str, storage_struct: str, storage_member: str) -> Cell:
    """A cell for a narrow type: arithmetic in shaders, and loads and stores in storage buffers."""

    def cell(device: DeviceRecord) -> str:
        math, buffers = feature(device, struct, arithmetic), feature(device, storage_struct, storage_member)
        if math == buffers:
            return answer(math)
        if None in (math, buffers):
            return f"arithmetic {answer(math)}, storage {answer(buffers)}"
        return "partial: storage only" if buffers else "partial: arithmetic only"

    return cell


def limit(member: str, unit: Callable[[float], str] | None = None) -> Cell:
    """A cell for a member of VkPhysicalDeviceLimits."""

    def cell(device: DeviceRecord) -> str:
        value = lookup(device.properties, "VkPhysicalDeviceProperties", f"limits.{member}")
        return UNKNOWN if value is None else unit(value) if unit and isinstance(value, (int, float)) else str(value)

    return cell


def subgroup_size(device: DeviceRecord) -> str:
    """Smallest, largest and default subgroup size."""
    control = "VkPhysicalDeviceSubgroupSizeControlProperties"
    low, high = (lookup(device.properties, control, f"{end}SubgroupSize") for end in ("min", "max"))
    default = lookup(device.properties, "VkPhysicalDeviceSubgroupProperties", "subgroupSize")
    if low is None or high is None:
        return UNKNOWN if default is None else f"{default} (range unknown)"
    if low == high and default in (low, None):
        return str(low)
    return f"{low} to {high}, default {UNKNOWN if default is None else default}"


def subgroup_control(device: DeviceRecord) -> str:
    """Whether a compute pipeline can require a subgroup size, and full subgroups."""
    struct = "VkPhysicalDeviceSubgroupSizeControlFeatures"
    size_on, full = feature(device, struct, "subgroupSizeControl"), feature(device, struct, "computeFullSubgroups")
    stages = lookup(device.properties, "VkPhysicalDeviceSubgroupSizeControlProperties", "requiredSubgroupSizeStages")
    if size_on and isinstance(stages, int) and not stages & _COMPUTE_STAGE:
        size_on = False
    if size_on and full:
        return "yes, full subgroups"
    if size_on is None and full is None:
        return UNKNOWN
    if size_on is False and full is False:
        return "no"
    if None in (size_on, full):
        return f"size {answer(size_on)}, full subgroups {answer(full)}"
    return "partial: size only" if size_on else "partial: full subgroups only"


def subgroup_operations(device: DeviceRecord) -> str:
    """Subgroup operations in compute shaders: the eight of Vulkan 1.1, and the later ones."""
    struct = "VkPhysicalDeviceSubgroupProperties"
    flags, stages = lookup(device.properties, struct, "supportedOperations"), lookup(device.properties, struct, "supportedStages")
    if not isinstance(flags, int):
        return answer(False if cannot_have(device, struct) else None)
    if isinstance(stages, int) and not stages & _COMPUTE_STAGE:
        return "no (not in compute)"
    missing = [name for bit, name in _SUBGROUP_OPERATIONS if not flags & bit]
    if missing:
        return f"partial: {len(_SUBGROUP_OPERATIONS) - len(missing)} of {len(_SUBGROUP_OPERATIONS)} (missing {', '.join(missing)})"
    later = [name for bit, name in ((_ROTATE, "rotate"), (_PARTITIONED, "partitioned")) if flags & bit]
    return "yes, all 8" + (" + " + ", ".join(later) if later else "")


def timestamps(device: DeviceRecord) -> str:
    """Valid timestamp bits of the compute queues and the period (ns), as the driver states both."""
    period = lookup(device.properties, "VkPhysicalDeviceProperties", "limits.timestampPeriod")
    period_text = UNKNOWN if period is None else f"{period:g}" if isinstance(period, float) else str(period)
    if device.queues is None:
        return f"bits {UNKNOWN}, {period_text} ns"
    bits = list(dict.fromkeys(q.timestamp_bits for q in device.queues if "COMPUTE" in q.flags))
    if not bits:
        return "no compute queue"
    return ("no, " if not any(bits) else "") + f"{' or '.join(map(str, bits))} bits, {period_text} ns"


def heaps(device: DeviceRecord) -> str:
    """Memory heaps by size, device-local ones first."""
    if device.heaps is None:
        return UNKNOWN
    if not device.heaps:
        return "none"
    local = [size(h.bytes) for h in device.heaps if h.device_local]
    other = [size(h.bytes) for h in device.heaps if not h.device_local]
    return "; ".join(filter(None, (", ".join(local) + " local" if local else "", ", ".join(other) + " host" if other else "")))


def driver_version(device: DeviceRecord) -> str:
    """The driver's own version text (`Mesa 26.1.6-1`), without the build details in brackets; else the packed version."""
    info = (device.driver.info or "").partition(" (")[0].strip()
    return info or device.driver.version or UNKNOWN


def text(value: Any) -> str:
    """Any value of a record in one line.

    >>> text([1, 2]), text({"width": 8, "height": 4}), text(None), text(True)
    ('1 2', 'width 8, height 4', 'unknown', 'yes')
    """
    if value is None or isinstance(value, bool):
        return answer(value)
    if isinstance(value, list):
        return " ".join(map(text, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {text(item)}" for key, item in value.items())
    return str(value)
