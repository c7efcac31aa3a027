"""JUnit XML as CI systems read it: a suite a device, a case a cell; wrong is a failure, a lost worker an error, the rest skipped.

Source: the attributes that Jenkins' JUnit plugin and GitLab document; there is no standard.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

import msgspec
from msgspec import UNSET

from vkprobe.records import DeviceRecord, PipelineRecord, ResultRecord
from vkprobe.results.exports.cells import Compiled, Exported, origin
from vkprobe.results.names import cell_name

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COUNTERS = {"failures": "failure", "errors": "error", "skipped": "skipped"}
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
"""Status -> the element that says so; `ok` has none, and `noop` is an error of a device that should execute."""


def encode(cells: Sequence[Exported], compiled: Sequence[Compiled] = ()) -> bytes:
    """The file, every cell included; behind them a suite `DEVICE compile` for each device that pipelines were created on.

    Suites that would have one name (two hosts' `radeon/0`) have the hardware behind it.
    """
    root = ET.Element("testsuites", name="vkprobe")
    by_device: dict[tuple[str, str, str], list[Exported]] = {}
    for cell in cells:
        by_device.setdefault((cell.hardware, cell.result.device, cell.label), []).append(cell)
    suites = [(of_device[0].hardware, _suite(of_device)) for of_device in by_device.values()]
    suites += [(one.hardware, _compile_suite(one)) for one in compiled]
    counts = Counter(suite.attrib["name"] for _, suite in suites)
    for hardware, suite in suites:
        if counts[suite.attrib["name"]] > 1:
            suite.set("name", f"{suite.attrib['name']} ({_text(hardware)})")
        root.append(suite)
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
    return _NO_XML.sub(lambda match: f"\\x{ord(match[0]):02x}", str(value))


def _properties(parent: ET.Element, values: Iterable[tuple[str, object]]) -> None:
    finite = [(n, v) for n, v in values if v is not None and not (isinstance(v, float) and not math.isfinite(v))]
    if finite:
        holder = ET.SubElement(parent, "properties")
        for name, value in finite:
            ET.SubElement(holder, "property", name=name, value=_text(value))


def _suite(cells: Sequence[Exported]) -> ET.Element:
    first = cells[0]
    suite = _of_cases(first.label or first.result.device, [_case(cell) for cell in cells], min(cell.result.at for cell in cells))
    _identified(suite, first.result, first.hardware, first.device)
    return suite


def _of_cases(name: str, cases: Sequence[ET.Element], at: str) -> ET.Element:
    """A suite with the counts of its cases' elements."""
    counts = {counter: str(sum(case.find(end) is not None for case in cases)) for counter, end in _COUNTERS.items()}
    took = sum(float(case.get("time", "0")) for case in cases)
    attributes = {"name": _text(name), "tests": str(len(cases)), **counts, "time": f"{took:.6f}", "timestamp": at[:19]}
    suite = ET.Element("testsuite", attributes)
    suite.extend(cases)
    return suite


def _identified(suite: ET.Element, record: ResultRecord | PipelineRecord, hardware: str, device: DeviceRecord | None) -> None:
    """Put the device's identity before the cases."""
    holder = ET.Element("holder")
    _properties(holder, origin(record, hardware, device).items())
    suite[:0] = list(holder)


def _seconds(value: float | None) -> str:
    return f"{value if value is not None and math.isfinite(value) else 0.0:.6f}"


def _case(cell: Exported) -> ET.Element:
    result, time = cell.result, cell.time
    case = ET.Element("testcase", classname=_text(cell.hardware), name=_text(cell.name))
    values: list[tuple[str, object]] = []
    if time is not None:
        took = sum(time.wall_samples_s) * time.dispatches_per_sample
        case.set("time", _seconds(took))
        values = [("median_s", time.median_s), ("ci95_low_s", time.ci95_s[0]), ("ci95_high_s", time.ci95_s[1])]
        values += [("steady", str(time.steady).lower()), ("clock", time.clock)]
        values += [(name, cell.line.get(name)) for name in ("flops_per_s", "bytes_per_s")]
    values += [(name, cell.line.get(name)) for name in ("kernel", "tile", "subgroup_size", "spirv_sha")]
    if result.check is not UNSET:
        values += [(f"check_{name}", value) for name, value in msgspec.to_builtins(result.check).items()]
    _properties(case, values)
    _end(case, result, cell.device)
    return case


def _end(case: ET.Element, record: ResultRecord | PipelineRecord, device: DeviceRecord | None) -> None:
    should_execute = device is not None and not device.null
    end = "error" if record.status == "noop" and should_execute else _ENDS.get(record.status)
    if end is not None:
        reason = _text(record.reason or record.status)
        element = ET.SubElement(case, end, message=reason)
        if end != "skipped":
            element.set("type", record.status)
            element.text = f"{record.status} on {_text(record.device)}: {reason}"
        else:
            element.set("message", f"{record.status}: {reason}")


def _compile_suite(compiled: Compiled) -> ET.Element:
    first = compiled.pipelines[0]
    cases = []
    for pipeline in compiled.pipelines:
        case = ET.Element(
            "testcase", classname=_text(compiled.hardware), name=_text(cell_name(pipeline)), time=_seconds(pipeline.compile_s)
        )
        statistics = ("registers", "spills", "instructions", "code_bytes", "matrix_instructions", "spirv_sha")
        _properties(case, [(field, getattr(pipeline, field)) for field in statistics])
        _end(case, pipeline, compiled.device)
        cases.append(case)
    suite = _of_cases(f"{compiled.label or first.device} compile", cases, min(pipeline.at for pipeline in compiled.pipelines))
    _identified(suite, first, compiled.hardware, compiled.device)
    return suite
