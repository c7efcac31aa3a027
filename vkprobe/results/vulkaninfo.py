"""Vulkan-Profiles JSON of a device, as `vulkaninfo --json` and gpuinfo.org write it.

It holds no cooperative-matrix tuples and no heaps, and of vendors' structs only some: what is missing stays unknown.

Source: https://schema.khronos.org/vulkan/profiles-0.8-latest.json; vulkaninfo 1.4.
"""

from __future__ import annotations

from typing import Any

from vkprobe.device_facts import Queue
from vkprobe.results.document import Node
from vkprobe.results.facts_file import FileFacts
from vkprobe.results.values import boolean, number, queue_flags, struct
from vkprobe.spirv_enables import canonical_struct


def is_profile(root: Node) -> bool:
    """Whether a document has the shape of Vulkan-Profiles JSON."""
    return isinstance(root.value, dict) and "capabilities" in root.value


def devices(root: Node) -> list[FileFacts]:
    """The devices of a document, one a profile (vulkaninfo writes one).

    Raises:
        UsageError: something in it is of another type than the schema has it.
    """
    blocks = dict(_required(root, "capabilities").fields())
    profiles = root.field("profiles")
    if profiles is None or not profiles.value:
        return [_device(list(blocks.values()))]
    facts = []
    for _, profile in profiles.fields():
        named = []
        for entry in _required(profile, "capabilities").items():
            if entry.value not in blocks if isinstance(entry.value, str) else True:
                entry.wrong("the name of a capabilities block (alternatives are for requirements, which are no device)")
            named.append(blocks[entry.value])
        facts.append(_device(named))
    return facts


def _required(node: Node, name: str) -> Node:
    child = node.field(name)
    if child is None:
        node.wrong(f"an object with `{name}`")
    return child


def _device(blocks: list[Node]) -> FileFacts:
    extensions: dict[str, int] = {}
    features: dict[str, dict[str, Any]] = {}
    properties: dict[str, dict[str, Any]] = {}
    queues: list[Queue] = []
    for block in blocks:
        for name, version in _members(block, "extensions"):
            extensions[name] = version.integer()
        for name, members in _members(block, "features"):
            features.setdefault(canonical_struct(name), {}).update({member: boolean(v) for member, v in members.fields()})
        for name, members in _members(block, "properties"):
            properties.setdefault(canonical_struct(name), {}).update(struct(members, canonical_struct(name)))
        listed = block.field("queueFamiliesProperties")
        queues += [_queue(family) for family in listed.items()] if listed is not None else []
    return FileFacts(extensions=extensions, features=features, properties=properties, queues=queues or None, heaps=None)


def _members(block: Node, name: str) -> list[tuple[str, Node]]:
    child = block.field(name)
    # PHP, which gpuinfo.org is written in, writes an empty object as an array.
    return [] if child is None or child.value == [] else list(child.fields())


def _queue(family: Node) -> Queue:
    properties_of = _required(family, "VkQueueFamilyProperties")
    bits = number(_required(properties_of, "timestampValidBits"))
    return Queue(
        flags=queue_flags(_required(properties_of, "queueFlags")),
        count=_required(properties_of, "queueCount").integer(),
        timestamp_bits=bits if isinstance(bits, int) else _required(properties_of, "timestampValidBits").integer(),
    )
