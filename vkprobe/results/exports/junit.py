"""JUnit XML as CI systems read it: a suite a device, a case a cell; wrong is a failure, a lost worker an error, the rest skipped.

Source: the attributes that Jenkins' JUnit plugin and GitLab document; there is no standard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from xml.etree import ElementTree as ET

import msgspec
from msgspec import UNSET

from vkprobe.records import PipelineRecord, ResultRecord
from vkprobe.results.exports.cells import Exported, identity

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENDS = {
    "wrong": "failure",
    "crash": "error",
    "timeout": "error",
    "device-lost": "error",
    "error": "error",
    "unsupported": "skipped",
    "skipped": "skipped",
    "noop": "skipped",
}
"""Status -> the element that says so; `ok` has none."""


def encode(cells: Sequence[Exported], pipelines: Sequence[PipelineRecord] = ()) -> bytes:
    """The file, every cell included; behind them a suite `DEVICE compile` for each device that pipelines were created on."""
    root = ET.Element("testsuites", name="vkprobe")
    for (_, _), group in groupby(cells, key=lambda cell: (cell.result.device, cell.label)):
        root.append(_suite(list(group)))
    by_device: dict[str, list[PipelineRecord]] = {}
    for pipeline in pipelines:
        by_device.setdefault(pipeline.device, []).append(pipeline)
    root.extend(_compile_suite(device, of_device) for device, of_device in by_device.items())
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.attrib[name]) for suite in root)))
    root.set("time", f"{sum(float(suite.attrib['time']) for suite in root):.6f}")
    ET.indent(root)
    data: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def _text(value: object) -> str:
    """A value as XML can hold it: characters that it can't, which drivers print, are written out.

    >>> _text("\\x1b[31mlost")
    '\\\\x1b[31mlost'
    """
    return _NO_XML.sub(lambda found: f"\\x{ord(found[0]):02x}", str(value))


def _properties(parent: ET.Element, values: Iterable[tuple[str, object]]) -> None:
    told = [(name, value) for name, value in values if value is not None]
    if told:
        holder = ET.SubElement(parent, "properties")
        for name, value in told:
            ET.SubElement(holder, "property", name=name, value=_text(value))


def _suite(cells: Sequence[Exported]) -> ET.Element:
    first = cells[0]
    ends = [_ENDS.get(cell.result.status) for cell in cells]
    cases = [_case(cell) for cell in cells]
    suite = ET.Element(
        "testsuite",
        name=_text(first.label or first.result.device),
        tests=str(len(cells)),
        failures=str(ends.count("failure")),
        errors=str(ends.count("error")),
        skipped=str(ends.count("skipped")),
        time=f"{sum(float(case.get('time', '0')) for case in cases):.6f}",
        timestamp=min(cell.result.at for cell in cells)[:19],
    )
    of_cell = ("spirv_sha", "tile", "subgroup_size", "split_k")
    _properties(suite, [(name, value) for name, value in identity(first).items() if name not in of_cell])
    suite.extend(cases)
    return suite


def _case(cell: Exported) -> ET.Element:
    result, time = cell.result, cell.time
    case = ET.Element("testcase", classname=_text(cell.hardware), name=_text(cell.name))
    values: list[tuple[str, object]] = []
    if time is not None:
        took = sum(time.wall_samples_s) * time.dispatches_per_sample
        case.set("time", f"{took:.6f}")
        values = [("median_s", time.median_s), ("ci95_low_s", time.ci95_s[0]), ("ci95_high_s", time.ci95_s[1])]
        values += [("steady", str(time.steady).lower()), ("clock", time.clock)]
        values += [(n, r) for n, r in (("flops_per_s", result.flops_per_s), ("bytes_per_s", result.bytes_per_s)) if r is not UNSET]
    values += [("tile", result.tile), ("subgroup_size", result.subgroup_size), ("spirv_sha", result.spirv_sha)]
    if result.check is not UNSET:
        values += [(f"check_{name}", value) for name, value in msgspec.to_builtins(result.check).items()]
    _properties(case, values)
    _end(case, result)
    return case


def _end(case: ET.Element, record: ResultRecord | PipelineRecord) -> None:
    end = _ENDS.get(record.status)
    if end is not None:
        reason = _text(record.reason or record.status)
        told = ET.SubElement(case, end, message=reason)
        if end != "skipped":
            told.set("type", record.status)
            told.text = f"{record.status} on {_text(record.device)}: {reason}"
        else:
            told.set("message", f"{record.status}: {reason}")


def _compile_suite(device: str, pipelines: Sequence[PipelineRecord]) -> ET.Element:
    ends = [_ENDS.get(pipeline.status) for pipeline in pipelines]
    suite = ET.Element(
        "testsuite",
        name=_text(f"{device} compile"),
        tests=str(len(pipelines)),
        failures=str(ends.count("failure")),
        errors=str(ends.count("error")),
        skipped=str(ends.count("skipped")),
        time=f"{sum(pipeline.compile_s or 0.0 for pipeline in pipelines):.6f}",
        timestamp=min(pipeline.at for pipeline in pipelines)[:19],
    )
    for pipeline in pipelines:
        name = "/".join(filter(None, ("compile", pipeline.kernel, pipeline.tile)))
        case = ET.SubElement(suite, "testcase", classname=_text(device), name=_text(name), time=f"{pipeline.compile_s or 0.0:.6f}")
        told = ("registers", "spills", "instructions", "code_bytes", "matrix_instructions", "spirv_sha")
        _properties(case, [(field, getattr(pipeline, field)) for field in told])
        _end(case, pipeline)
    return suite
