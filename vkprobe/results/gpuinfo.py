"""Reports of vulkan.gpuinfo.org, as the Hardware Capability Viewer saves them and the site's api/v2/getreport gives them.

They hold no cooperative-matrix tuples. Members of extensions' structs stand there by extension and name; the Vulkan registry
says which struct they belong to.

Source: SaschaWillems/VulkanCapsViewer@5efadd38 vulkanDeviceInfo.cpp, toJson().
"""

from __future__ import annotations

from typing import Any

from vkprobe.device_facts import Heap, Queue
from vkprobe.results.document import Node
from vkprobe.results.facts_file import FileFacts
from vkprobe.results.values import boolean, number, properties, queue_flags, struct, structs_of, value

_CORE = "VkPhysicalDeviceProperties"
_SUBGROUP = "VkPhysicalDeviceSubgroupProperties"
_VIEWERS_OWN = frozenset({"apiVersionText", "deviceTypeText", "driverVersionText", "headerversion", "subgroupProperties"})


def is_report(root: Node) -> bool:
    """Whether a document has the shape of such a report."""
    return isinstance(root.value, dict) and "properties" in root.value and bool({"extended", "extensions"} & set(root.value))


def device(root: Node) -> FileFacts:
    """The device of a report.

    Raises:
        UsageError: something in it is of another type than reports have it.
    """
    features = {"VkPhysicalDeviceFeatures": _truths(root.field("features"))}
    file_properties: dict[str, dict[str, Any]] = {}
    core = root.field("properties")
    if core is not None:
        given_members = {name: member for name, member in core.fields() if name not in _VIEWERS_OWN}
        file_properties[_CORE] = {name: value(v, properties()[_CORE].get(name, ""), spoken=True) for name, v in given_members.items()}
        subgroup = core.field("subgroupProperties")
        if subgroup is not None and subgroup.value:
            file_properties[_SUBGROUP] = struct(subgroup, _SUBGROUP, spoken=True)
    for version in ("11", "12", "13", "14"):
        block = root.field(f"core{version}")
        if block is None:
            continue
        if block.field("features") is not None:
            features[f"VkPhysicalDeviceVulkan{version}Features"] = _truths(block.field("features"))
        members = block.field("properties")
        if members is not None:
            name = f"VkPhysicalDeviceVulkan{version}Properties"
            file_properties[name] = struct(members, name, spoken=True)
    _extended(root, features, file_properties)
    return FileFacts(
        extensions={_text(e, "extensionName"): _integer(e, "specVersion") for e in _items(root, "extensions")},
        features=features,
        properties=file_properties,
        queues=[_queue(q) for q in _items(root, "queues")] or None,
        heaps=_heaps(root),
    )


def _extended(root: Node, features: dict[str, dict[str, Any]], members_by_struct: dict[str, dict[str, Any]]) -> None:
    """Add the members of extensions' structs to `features` and `members_by_struct`; an unknown extension's go under its own name."""
    extended = root.field("extended")
    if extended is None:
        return
    for entry in _items(extended, "devicefeatures2"):
        extension, name = _text(entry, "extension"), _text(entry, "name")
        structs = [s for s in structs_of(extension) if "Features" in s]
        supported = entry.field("supported")
        if supported is not None:
            features.setdefault(structs[0] if structs else extension, {})[name] = boolean(supported, spoken=True)
    for entry in _items(extended, "deviceproperties2"):
        extension, name = _text(entry, "extension"), _text(entry, "name")
        owner = next((s for s in structs_of(extension) if name in properties().get(s, {})), extension)
        given = entry.field("value")
        if given is not None:
            members_by_struct.setdefault(owner, {})[name] = value(given, properties().get(owner, {}).get(name, ""), spoken=True)


def _truths(node: Node | None) -> dict[str, Any]:
    return {} if node is None else {name: boolean(v, spoken=True) for name, v in node.fields()}


def _items(node: Node, name: str) -> list[Node]:
    child = node.field(name)
    return [] if child is None else list(child.items())


def _need(node: Node, name: str) -> Node:
    child = node.field(name)
    if child is None:
        node.wrong(f"an object with `{name}`")
    return child


def _text(node: Node, name: str) -> str:
    return _need(node, name).text()


def _integer(node: Node, name: str) -> int:
    given = number(_need(node, name), spoken=True)
    return given if isinstance(given, int) else _need(node, name).integer()


def _queue(node: Node) -> Queue:
    return Queue(
        flags=queue_flags(_need(node, "queueFlags")),
        count=_integer(node, "queueCount"),
        timestamp_bits=_integer(node, "timestampValidBits"),
    )


def _heaps(root: Node) -> list[Heap] | None:
    """Heaps; None where the report has no `memory`. Bit 1 of a heap's flags is VK_MEMORY_HEAP_DEVICE_LOCAL_BIT."""
    memory = root.field("memory")
    if memory is None or memory.field("memoryHeaps") is None:
        return None
    return [Heap(bytes=_integer(h, "size"), device_local=bool(_integer(h, "flags") & 1)) for h in _items(memory, "memoryHeaps")]
