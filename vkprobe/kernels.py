"""The kernel registry: what each checked-in SPIR-V module computes, how it is called, and what it asks of a device.

The registry is the modules' own manifest (`make kernels` writes it); requirements follow from the modules' capabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from vkprobe import spirv_enables
from vkprobe.requirements.load import kernel_requirement
from vkprobe.requirements.model import Property, Requirement, TupleMatch

_API_VERSIONS = {"vulkan1.2": "1.2", "vulkan1.3": "1.3"}


class Kernel(Struct, frozen=True, kw_only=True):
    """One SPIR-V module.

    Attributes:
        op, path, type, accumulator, tier: what it computes, in the records' terms; empty for helper modules.
        reduce: how a GEMV sums, `subgroup` (subgroup arithmetic) or `shared` (shared memory only).
        a, b, c, saturating, scope: the tuple's types and scope, as in device records; only the ladder's and the peaks' kernels have them.
        target: the environment that it is compiled for, which sets the API version it needs.
        capabilities: the SPIR-V capabilities that it declares.
        features: (struct, feature) pairs that it needs beyond what its capabilities say.
        constants: ids of the specialisation constants by name, also of those that the module ignores: all are to be given a value,
            because validation layers mix constants up where ids have gaps.
        push: names of the 32-bit words of push constants, in order.
        bindings: the name of the buffer at each binding number; empty for a number that the module doesn't use.
        spirv_sha256: hash of the module's bytes, before any patching.
    """

    name: str
    op: str
    path: str = ""
    type: str = ""
    accumulator: str = ""
    tier: str = ""
    reduce: str = ""
    a: str = ""
    b: str = ""
    c: str = ""
    saturating: bool = False
    scope: str = ""
    source: str
    target: str
    capabilities: tuple[str, ...]
    features: tuple[tuple[str, str], ...] = ()
    constants: dict[str, int] = {}
    push: tuple[str, ...] = ()
    bindings: tuple[str, ...] = ()
    spirv_sha256: str

    @property
    def family(self) -> str:
        """The name with a star for the weight type: kernels of all types share it (`gemm_*_coopmat`)."""
        return self.name.replace(f"_{self.type}", "_*", 1) if self.type else self.name


@cache
def kernels() -> dict[str, Kernel]:
    """Every module by name."""
    manifest = msgspec.json.decode((files("vkprobe") / "spirv" / "manifest.json").read_bytes())
    return {name: msgspec.convert({"name": name, **entry}, Kernel) for name, entry in manifest["kernels"].items()}


def find(op: str, path: str, weight_type: str, accumulator: str, *, tier: str = "mimic", reduce: str = "") -> Kernel | None:
    """The kernel with these facts; None where there is none."""
    for kernel in kernels().values():
        wanted = (op, path, weight_type, accumulator, tier, reduce)
        if (kernel.op, kernel.path, kernel.type, kernel.accumulator, kernel.tier, kernel.reduce) == wanted:
            return kernel
    return None


def requirement(
    kernel: Kernel,
    *,
    tuples: Sequence[TupleMatch] = (),
    shared_memory_bytes: int | None = None,
    workgroup_invocations: int | None = None,
    subgroup_size: int | None = None,
) -> Requirement:
    """The requirement of `kernel` with such a tile: the features and properties of its capabilities, its tuples and limits."""
    source = f"{kernel.source}, OpCapability of {kernel.name}.spv"
    features: list[list[tuple[str, str]]] = [[feature] for feature in kernel.features]
    properties: list[Property] = []
    for name in kernel.capabilities:
        enables = spirv_enables.capability(name)
        alternatives = [(e.name, e.member) for e in enables if e.kind == "feature" and e.member is not None]
        if alternatives:
            if alternatives not in features:
                features.append(alternatives)
            continue
        for enable in enables:
            if enable.kind == "property" and enable.member is not None:
                need: bool | tuple[str, ...] = True if enable.bits is None else _flags(enable.bits)
                properties.append(Property(struct=enable.name, member=enable.member, need=need, source=source))
                break
    by_features = kernel_requirement(
        kernel.name,
        features,
        source=source,
        tuples=tuples,
        shared_memory_bytes=shared_memory_bytes,
        workgroup_invocations=workgroup_invocations,
        subgroup_size=subgroup_size,
        api_version=_API_VERSIONS[kernel.target],
    )
    return msgspec.structs.replace(by_features, conditions=(*by_features.conditions, *properties))


_SUBGROUP_FLAGS = ("BASIC", "VOTE", "ARITHMETIC", "BALLOT", "SHUFFLE", "SHUFFLE_RELATIVE", "CLUSTERED", "QUAD")


def _flags(bits: int) -> tuple[str, ...]:
    """Subgroup operations by name: the only flags that capabilities ask for."""
    return tuple(f"VK_SUBGROUP_FEATURE_{name}_BIT" for i, name in enumerate(_SUBGROUP_FLAGS) if bits >> i & 1)
