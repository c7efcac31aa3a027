"""The caps table: what decides LLM inference, device beside device, computed from records alone."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vkprobe.records import DeviceRecord
from vkprobe.report import caps_cells as cells
from vkprobe.report.caps_cells import Cell
from vkprobe.report.tables import render
from vkprobe.units import size

_WIDTH = 120
_NARROWEST = 30  # three such columns and the labels fit 120


class Row(NamedTuple):
    """A line of the table: what it is about, and a cell for each device."""

    label: str
    cells: list[str]


_ROWS: tuple[tuple[str, Cell], ...] = (
    ("device", lambda d: d.name),
    ("driver", lambda d: d.driver.name or d.driver.id or cells.UNKNOWN),
    ("driver version", cells.driver_version),
    ("Vulkan", lambda d: d.driver.api or cells.UNKNOWN),
    ("KHR_cooperative_matrix", cells.khr_coopmat),
    ("coopmat f16 -> f16", cells.coopmat_shapes(("f16",), ("f16",))),
    ("coopmat f16 -> f32", cells.coopmat_shapes(("f16",), ("f32",))),
    ("coopmat int8 -> 32 bit", cells.coopmat_shapes(("s8", "u8"), ("s32", "u32"))),
    ("coopmat bf16", cells.coopmat_shapes(("bf16",), ("bf16", "f32"))),
    ("coopmat fp8", cells.coopmat_shapes(("e4m3", "e5m2"), ("e4m3", "e5m2", "f16", "bf16", "f32"))),
    (
        "NV_cooperative_matrix2",
        cells.of_features(
            "VkPhysicalDeviceCooperativeMatrix2FeaturesNV", cells.COOPMAT2_FEATURES, "VK_NV_cooperative_matrix2", name_missing=False
        ),
    ),
    ("coopmat2 missing", cells.coopmat2_missing),
    ("coopmat2 flexible sizes", cells.flexible),
    ("EXT coopmat maintenance1", cells.ext_coopmat),
    ("NV_cooperative_vector", cells.cooperative_vector),
    (
        "bf16",
        cells.of_features(
            "VkPhysicalDeviceShaderBfloat16FeaturesKHR",
            {"shaderBFloat16Type": "type", "shaderBFloat16DotProduct": "dot", "shaderBFloat16CooperativeMatrix": "coopmat"},
            "VK_KHR_shader_bfloat16",
        ),
    ),
    (
        "float8",
        cells.of_features(
            "VkPhysicalDeviceShaderFloat8FeaturesEXT",
            {"shaderFloat8": "type", "shaderFloat8CooperativeMatrix": "coopmat"},
            "VK_EXT_shader_float8",
        ),
    ),
    (
        "f16 arithmetic, storage",
        cells.storage(
            "VkPhysicalDeviceShaderFloat16Int8Features",
            "shaderFloat16",
            "VkPhysicalDevice16BitStorageFeatures",
            "storageBuffer16BitAccess",
        ),
    ),
    (
        "int8 arithmetic, storage",
        cells.storage(
            "VkPhysicalDeviceShaderFloat16Int8Features",
            "shaderInt8",
            "VkPhysicalDevice8BitStorageFeatures",
            "storageBuffer8BitAccess",
        ),
    ),
    ("integer dot product", cells.integer_dot),
    (
        "VALVE mixed float dot",
        cells.of_features(
            "VkPhysicalDeviceShaderMixedFloatDotProductFeaturesVALVE",
            {
                "shaderMixedFloatDotProductFloat16AccFloat32": "f16->f32",
                "shaderMixedFloatDotProductFloat16AccFloat16": "f16->f16",
                "shaderMixedFloatDotProductBFloat16Acc": "bf16",
                "shaderMixedFloatDotProductFloat8AccFloat32": "fp8->f32",
            },
            "VK_VALVE_shader_mixed_float_dot_product",
        ),
    ),
    ("subgroup size", cells.subgroup_size),
    ("subgroup size control", cells.subgroup_control),
    ("subgroup operations", cells.subgroup_operations),
    ("shared memory", cells.limit("maxComputeSharedMemorySize", size)),
    ("workgroup invocations", cells.limit("maxComputeWorkGroupInvocations")),
    ("timestamps", cells.timestamps),
    ("heaps", cells.heaps),
    (
        "OCP microscaling types",
        cells.of_features(
            "VkPhysicalDeviceShaderOCPMicroscalingTypesFeaturesEXT",
            {"shaderFloat4": "fp4", "shaderFloat6": "fp6", "shaderFloat8UnsignedE8M0": "e8m0", "shaderMXInt8": "mxint8"},
            "VK_EXT_shader_ocp_microscaling_types",
        ),
    ),
    *(
        (label, cells.of_features(struct, {member: member}, extension))
        for label, struct, member, extension in (
            (
                "untyped pointers",
                "VkPhysicalDeviceShaderUntypedPointersFeaturesKHR",
                "shaderUntypedPointers",
                "VK_KHR_shader_untyped_pointers",
            ),
            ("64-bit indexing", "VkPhysicalDeviceShader64BitIndexingFeaturesEXT", "shader64BitIndexing", "VK_EXT_shader_64bit_indexing"),
            ("long vectors", "VkPhysicalDeviceShaderLongVectorFeaturesEXT", "longVector", "VK_EXT_shader_long_vector"),
            (
                "pipeline statistics",
                "VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR",
                "pipelineExecutableInfo",
                "VK_KHR_pipeline_executable_properties",
            ),
        )
    ),
)


def rows(devices: Sequence[DeviceRecord]) -> list[Row]:
    """The table's lines for these devices."""
    return [Row(label, [cell(d) for d in devices]) for label, cell in _ROWS]


def tuple_lines(device: DeviceRecord) -> list[tuple[str, str, str, str]]:
    """A device's cooperative-matrix tuples, brief: (scope, shape, `a x b`, accumulators), in the driver's order.

    Shapes with a granularity (NV flexible dimensions, EXT maintenance1) end with `n`, as in `16x16x16 n`.
    """
    texts_of: dict[tuple[str, str, str], list[str]] = defaultdict(list)

    def add(scope: str, shape: str, row: Mapping[str, Any]) -> None:
        accumulator = row["c"] if row["c"] == row["result"] else f"{row['c']}->{row['result']}"
        texts_of[scope, shape, f"{row['a']} x {row['b']}"].append(accumulator + (" saturating" if row["saturating"] else ""))

    for khr in device.coopmat.khr or []:
        add(khr.scope, f"{khr.m}x{khr.n}x{khr.k}", {f: getattr(khr, f) for f in khr.__struct_fields__})
    for nv in device.coopmat.nv_flexible or []:
        where = nv.scope + (f" of {nv.workgroup_invocations}" if nv.scope == "workgroup" else "")
        shape = f"{nv.m_granularity}x{nv.n_granularity}x{nv.k_granularity} n"
        add(where, shape, {f: getattr(nv, f) for f in nv.__struct_fields__})
    for ext in device.coopmat.ext or []:
        where = ext["scope"] + (f" of {ext['invocations']}" if ext["scope"] == "workgroup" else "")
        where += f", size {ext['subgroup_size'] or 'varying'}"
        add(where, f"{ext['m_granularity']}x{ext['n_granularity']}x{ext['k_granularity']} n", ext)
    return [(*key, ", ".join(accumulators)) for key, accumulators in texts_of.items()]


def tuple_counts(device: DeviceRecord) -> str:
    """How many tuples each of the three queries gave, in words."""

    def count(given: list[Any] | None) -> str:
        return cells.UNKNOWN if given is None else str(len(given))

    coopmat = device.coopmat
    return f"{count(coopmat.khr)} KHR, {count(coopmat.nv_flexible)} NV flexible, {count(coopmat.ext)} EXT"


def differences(devices: Sequence[DeviceRecord]) -> list[Row]:
    """Every extension, feature and property: of one device all of them, of several those that differ.

    An empty cell: the device has no such extension, or its version and extensions don't allow to ask for that struct.
    """
    table: dict[str, list[str]] = {}

    def note(label: str, index: int, value: Any) -> None:
        table.setdefault(label, [""] * len(devices))[index] = cells.text(value)

    for index, device in enumerate(devices):
        for name, version in sorted(device.extensions.items()):
            note(name, index, version)
    for index, device in enumerate(devices):
        for structs in (device.features, device.properties):
            for struct, members in structs.items():
                for member, value in members.items():
                    nested = value.items() if struct == "VkPhysicalDeviceProperties" and isinstance(value, dict) else None
                    for name, one in nested or [("", value)]:
                        note(".".join(filter(None, (struct, member, name))), index, one)
    return [Row(label, values) for label, values in table.items() if len(devices) == 1 or len(set(values)) > 1]


def as_text(devices: Sequence[DeviceRecord], form: str, *, everything: bool = False, width: int | None = None) -> str:
    """The whole output of `caps` in one of the table formats; `width` is the terminal's, None where there is none.

    The tuples follow the table where people read it; CSV and JSON hold one table only (records hold everything).
    """
    table = differences(devices) if everything else rows(devices)
    lines = [[row.label, *row.cells] for row in table]
    if form == "table":
        labels = max((len(row.label) for row in table), default=0) + 2
        room = max(_NARROWEST, ((width or _WIDTH) - labels) // len(devices) - 2)
        lines = [[label, *(_fold(cell, room) for cell in texts)] for label, *texts in lines]
    parts = [render(["", *(d.device for d in devices)], lines, form, width=width)]
    if form in ("table", "md") and not everything:
        alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
        for device in devices:
            key = (tuple_counts(device), *tuple_lines(device))
            alike[key].append(device.device)
        for (counts, *tuples_of), ids in alike.items():
            heading = f"{', '.join(ids)}: cooperative-matrix tuples: {counts}"
            parts.append(heading + ("\n\n" + render(("scope", "shape", "A x B", "accumulators"), tuples_of, form) if tuples_of else ""))
    return "\n\n".join(parts)


def _fold(cell: str, room: int) -> str:
    return "\n".join(textwrap.wrap(cell, room, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)) or cell
