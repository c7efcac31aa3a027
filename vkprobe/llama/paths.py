"""Which path llama.cpp takes on a device for a matrix product, how it runs it, and why it takes no better one.

Where the facts leave the choice open the path is None, and `because` says what would decide it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec
from msgspec import Struct

from vkprobe.llama.device import FAITHFUL, INTEL_WINDOWS, Limits, Ruling, Vendor, coopmat_allowed, limits, ruled
from vkprobe.llama.layout import GemmLayout, GemvLayout, gemm_layout, gemv_layout
from vkprobe.llama.listing import left_out
from vkprobe.llama.rows import MOST_COLUMNS
from vkprobe.records import DeviceRecord
from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.facts import has_extension, lookup
from vkprobe.requirements.load import requirement
from vkprobe.requirements.model import Gap
from vkprobe.requirements.words import condition_in_words, short_name
from vkprobe.weights import WEIGHT_TYPES

_CLOSED = "the gap is taken as closed"


class Workload(NamedTuple):
    """A product D[n, m] = B[n, k] * A[m, k]^T with weights A of `type`."""

    type: str
    m: int
    n: int
    k: int

    @property
    def by_vectors(self) -> bool:
        """Whether llama.cpp multiplies by vectors: it does up to 8 columns.

        llama.cpp also takes a GEMV with its sides swapped for one row of f32 or f16 weights, and cuts weights beyond
        maxStorageBufferRange along M, without splitting K: neither is modelled here.

        Source: ggml-vulkan.cpp:7285, 7274-7282 (one row), 7225-7251 (huge weights).
        """
        return self.n <= MOST_COLUMNS


WORKLOADS = tuple(Workload(t, 4096, n, k) for n, k in ((512, 4096), (1, 4096), (1, 12288), (8, 4096)) for t in WEIGHT_TYPES)
"""An 8B model's: prompt processing, token generation at both of its K, and eight tokens at once."""


class Candidate(NamedTuple):
    """A path that llama.cpp looks at, and whether it can take it."""

    path: str
    accumulator: str
    ruling: Ruling

    def __str__(self) -> str:
        return f"{self.path} in int8" if self.accumulator == "s32" else self.path


class Choice(Struct, frozen=True, kw_only=True):
    """The path that llama.cpp takes for a workload.

    Attributes:
        path: None where the facts don't say, `none` where llama.cpp doesn't take the device at all.
        accumulator: f16, f32 or s32; None where `path` is no path.
        because: what decided it; for an open choice, what would.
        candidates: the paths in llama.cpp's order, those after the path taken included.
        layout: how the path is run; None where the facts don't say.
        split_k: over how many workgroups a GEMM splits K; None where the facts don't say, and for a GEMV.
        left_out: why llama.cpp's default device list leaves the device out; None where it doesn't.
    """

    workload: Workload
    path: str | None
    accumulator: str | None = None
    because: str
    candidates: tuple[Candidate, ...] = ()
    layout: GemmLayout | GemvLayout | None = None
    split_k: int | None = None
    left_out: str | None = None

    @property
    def tile(self) -> str | None:
        """A GEMM's workgroup tile in words, as `l 128x256`; None where the facts don't say, and for a GEMV."""
        if not isinstance(self.layout, GemmLayout):
            return None
        tile = self.layout.tile
        return f"{tile.size} {tile.bm}x{tile.bn}"


class _Device:
    """A device's gaps and rulings, each computed once."""

    def __init__(self, device: DeviceRecord, closed: Collection[str]) -> None:
        self.device = device
        self.vendor = device.hardware.vendor_id
        self._closed = {name for path in closed for name in _with_included(path)}
        self._gaps: dict[str, Gap] = {}

    @cached_property
    def limits(self) -> Limits:
        """The device's limits, without vkprobe's deviations; with the matrices of gaps that are taken as closed."""
        limits_ = msgspec.structs.replace(limits(self.device), deviation=FAITHFUL)
        matrices = self.needs("coopmat", allowed=True).holds is True
        bf16 = matrices and self.needs("coopmat-bf16").holds is True
        return msgspec.structs.replace(limits_, matrices=matrices, bf16_matrices=bf16)

    def gap(self, path: str) -> Gap:
        """How the device stands to a requirement."""
        if path not in self._gaps:
            self._gaps[path] = evaluate(self.device, requirement(path))
        return self._gaps[path]

    @cached_property
    def allowed(self) -> Ruling:
        """The vendor's rule on cooperative matrices. Qualcomm's asks for an extension, which comes with a gap that is closed."""
        ruling = coopmat_allowed(self.device)
        return Ruling(True, _CLOSED) if self.vendor == Vendor.QUALCOMM and "coopmat" in self._closed else ruling

    def needs(self, *paths: str, allowed: bool = False) -> Ruling:
        """Whether all these requirements hold and, with `allowed`, the vendor's rule; the first that decides gives the words."""
        rulings = [Ruling(True, _CLOSED) if path in self._closed else Ruling(self.gap(path).met, lacking(self.gap(path))) for path in paths]
        return _all(*rulings, *([self.allowed] if allowed else []))

    def open_for(self, path: str) -> str | None:
        """The fact that a path's layout depends on and that the device's file doesn't give; None where nothing is missing."""
        if path == "coopmat2":
            return "the shader core count" if self.limits.cores is None else None
        if path == "coopmat" and self.limits.matrix is None:
            return "the matrix's shape"
        members = (
            ("VkPhysicalDeviceSubgroupProperties", "subgroupSize"),
            ("VkPhysicalDeviceProperties", "limits.maxComputeSharedMemorySize"),
            ("VkPhysicalDeviceProperties", "limits.maxComputeWorkGroupInvocations"),
        )
        missing = [member.rpartition(".")[2] for struct, member in members if lookup(self.device.properties, struct, member) is None]
        if self.limits.architecture is None and self.vendor in (Vendor.AMD, Vendor.INTEL):
            missing.append("the architecture")
        return missing[0] if missing else None


def _with_included(path: str) -> Iterable[str]:
    yield path
    for included in requirement(path).includes:
        yield from _with_included(included)


def _all(*rulings: Ruling) -> Ruling:
    for answer in (False, None):
        for ruling in rulings:
            if ruling.holds is answer:
                return ruling
    return Ruling(True, "all that it needs is there")


def lacking(gap: Gap) -> str:
    """A gap in a few words: the first condition that decides, and how many more there are."""
    deciding = [m for m in gap.missing if m.have is not None] if gap.met is False else list(gap.missing)
    if not deciding:
        return "nothing"
    first = deciding[0]
    if first.have is None:
        words = short_name(first) if first.kind != "tuple" else f"a tuple {first.name}"
    else:
        words = condition_in_words(first)
        if first.kind == "extension":
            return words  # its features and properties are missing with it
    return words + (f" and {len(deciding) - 1} more" if len(deciding) > 1 else "")


def choose(
    device: DeviceRecord,
    workloads: Sequence[Workload] = WORKLOADS,
    others: Iterable[DeviceRecord] = (),
    *,
    closed: Collection[str] = (),
) -> list[Choice]:
    """llama.cpp's choice for each workload.

    Args:
        others: the devices beside it on the same machine.
        closed: requirements to treat as met, along with those that they include, whatever the device's facts say.
    """
    facts = _Device(device, closed)
    out = left_out(device, others)
    base = facts.needs("scalar-f32")
    if base.holds is False:
        refused = f"llama.cpp does not take the device: {base.because}"
        return [Choice(workload=w, path="none", because=refused) for w in workloads]
    choices = [_gemv(facts, w) if w.by_vectors else _gemm(facts, w) for w in workloads]
    return [msgspec.structs.replace(choice, left_out=out) for choice in choices] if out else choices


def accumulator(weight_type: str, path: str, limits: Limits) -> str:
    """The accumulator that llama.cpp takes for a GEMM: f16 where the type, the path and the device's matrices have it.

    That includes dot2, which rounds its f32 products to f16 sums; vkprobe's dot2 kernels sum in f32 only.

    Source: ggml-vulkan.cpp:5943-5974 (choice), 4698-4709 (matrices), 2607-2609 (dot2); dot_product_funcs.glsl:8-10.
    """
    row = WEIGHT_TYPES[weight_type]
    if path in ("scalar-f32", "intdot") or "f16" not in row.accumulators:
        return "f32"
    of_matrices = path == "coopmat" or (not row.quantised and limits.matrices and path == "coopmat2")
    return "f32" if of_matrices and not limits.f16_accumulator else "f16"


def candidates(device: DeviceRecord, weight_type: str, *, closed: Collection[str] = ()) -> tuple[Candidate, ...]:
    """The paths that llama.cpp looks at for a GEMM of a weight type, in its order, each with a ruling.

    coopmat2 goes first. Then integer products with q8_1 activations, where there is a pipeline for the type: on int8 matrices or, on
    devices without cooperative matrices, by integer dot products. Then coopmat, and last the scalar paths. bf16 has an order of its
    own: without bf16 matrices it is multiplied in f32.

    Source: ggml-vulkan.cpp:6310-6343 (order), 2281-2815 (pipelines); vulkan-shaders-gen.cpp:505-512 (bf16).
    """
    return _candidates(_Device(device, closed), weight_type)


def _candidates(facts: _Device, weight_type: str) -> tuple[Candidate, ...]:
    def candidate(path: str, ruling: Ruling) -> Candidate:
        return Candidate(path, accumulator(weight_type, path, facts.limits), ruling)

    if WEIGHT_TYPES[weight_type].component == "bf16":
        return (
            candidate("coopmat2", facts.needs("coopmat2", "coopmat-bf16", allowed=True)),
            candidate("coopmat", facts.needs("coopmat-bf16", allowed=True)),
            candidate("scalar-f32", facts.needs("scalar-f32")),
        )
    q8_1 = WEIGHT_TYPES[weight_type].q8_1
    coopmat = facts.needs("coopmat", allowed=True)
    options = [candidate("coopmat2", facts.needs("coopmat2"))]
    if q8_1 is not None and q8_1.int8_architectures:
        options.append(Candidate("coopmat", "s32", _all(coopmat, _int8(facts, q8_1.int8_architectures))))
    options.append(candidate("coopmat", coopmat))
    if q8_1 is not None and q8_1.gemm:
        options.append(candidate("intdot", facts.needs("intdot") if q8_1.gemm_f32 else facts.needs("intdot", "scalar-f16")))
    return (*options, *(candidate(path, facts.needs(path)) for path in ("dot2", "scalar-f16", "scalar-f32")))


def _int8(facts: _Device, architectures: Sequence[str]) -> Ruling:
    """Whether int8 matrices multiply a type. Source: ggml-vulkan.cpp:4714-4725, 2422-2424, 2482-2496."""
    names = " and ".join(name.removeprefix("amd-").upper() for name in architectures)
    arch = facts.limits.architecture
    rule = ruled(None if arch is None else arch in architectures, f"int8 matrices for this type on {names} only", "the architecture")
    if rule.holds is not True:
        return rule
    khr = facts.device.coopmat.khr
    tuples = "a tuple s8,s8->s32 at subgroup scope" if khr is None else "no tuple s8,s8->s32 at subgroup scope"
    return _all(rule, Ruling(None if khr is None else facts.limits.int8_matrix is not None, tuples))


def _gemm(facts: _Device, workload: Workload) -> Choice:
    refused: list[str] = []
    options = _candidates(facts, workload.type)
    for position, candidate in enumerate(options):
        ruling = candidate.ruling
        if ruling.holds is False:
            refused.append(f"no {candidate}: {ruling.because}{_banner(facts, candidate.path)}")
            continue
        if ruling.holds is None:
            after = next((c for c in options[position + 1 :] if c.ruling.holds is not False), None)
            without = f", without it {after}" + ("" if after.ruling.holds else ", if that is met") if after else ""
            open_because = f"the facts don't give {ruling.because}: with it {candidate}{without}"
            return Choice(workload=workload, path=None, because="; ".join([open_because, *refused]), candidates=options)
        layout, words = _laid(facts, workload, candidate)
        return Choice(
            workload=workload,
            path=candidate.path,
            accumulator=candidate.accumulator,
            because="; ".join([*(refused or [ruling.because]), words]),
            candidates=options,
            layout=layout,
            split_k=layout.split.parts if layout is not None and facts.limits.cores is not None else None,
        )
    return Choice(workload=workload, path="none", because="; ".join(refused), candidates=options)


def _banner(facts: _Device, path: str) -> str:
    """A warning where llama.cpp's own start-up line claims more than it does."""
    gap = facts.gap("coopmat2")
    if path != "coopmat2" or gap.part is None or gap.part[0] < gap.part[1] or gap.met is not False:
        return ""
    return " (llama.cpp's banner says NV_coopmat2 all the same: it looks at the seven features only)"


def _laid(facts: _Device, workload: Workload, candidate: Candidate) -> tuple[GemmLayout | None, str]:
    """The layout, and its tile and split in words."""
    missing = facts.open_for(candidate.path)
    if missing is not None:
        return None, f"its tile depends on {missing}, which the facts don't give"
    layout = gemm_layout(facts.limits, *workload, candidate.path, candidate.accumulator)
    tile, cores = layout.tile, facts.limits.cores
    words = f"tile {tile.bm}x{tile.bn} ({tile.size})"
    if candidate.path == "coopmat2":
        words += f" for {cores} shader cores" if cores else " without a shader core count"
    if cores is None:
        words += ", K split by a shader core count that the facts don't give"
    elif layout.split.parts > 1:
        words += f", K split over {layout.split.parts}"
    return layout, words


def _gemv(facts: _Device, workload: Workload) -> Choice:
    """Float or q8_1 activations: token generation computes in f32 or in packed 8-bit products."""
    wanted = q8_1_wanted(facts.device, workload)
    offered = Ruling(False, "") if wanted.holds is False else facts.needs("intdot-gemv")
    q8_1 = Candidate("intdot", "f32", wanted if wanted.holds is False else _all(wanted, offered))
    floats = Candidate("scalar-f32", "f32", facts.needs("scalar-f32"))
    if wanted.holds is not False and offered.holds is not False and None in (wanted.holds, offered.holds):
        deciding = wanted.because if wanted.holds is None else offered.because
        because = f"the facts don't give {deciding}: with it intdot, without it scalar-f32"
        return Choice(workload=workload, path=None, because=because, candidates=(q8_1, floats))
    if wanted.holds is False:
        taken, because = floats, f"{wanted.because}: the float GEMV"
    elif offered.holds is False:
        taken, because = floats, f"no intdot: {offered.because}"
    else:
        taken, because = q8_1, wanted.because
    layout = None if facts.open_for(taken.path) else gemv_layout(facts.limits, *workload, taken.path)
    return Choice(workload=workload, path=taken.path, accumulator="f32", because=because, candidates=(q8_1, floats), layout=layout)


_NVIDIA_LEAST_K = 4096
_LEAST_K = 2048


def q8_1_wanted(device: DeviceRecord, workload: Workload) -> Ruling:
    """Whether llama.cpp prefers q8_1 activations for a GEMV, by vendor, type, N and K. It doesn't ask whether the device can do it.

    Source: ggml-vulkan.cpp:6543-6625 (rule), 5508-5529 (types).
    """
    row, vendor, k = WEIGHT_TYPES[workload.type], device.hardware.vendor_id, workload.k
    q8_1 = row.q8_1
    if not row.quantised:
        return Ruling(False, "the type is not quantised")
    if q8_1 is None or not q8_1.gemv:
        return Ruling(False, f"llama.cpp has no GEMV of {workload.type} with q8_1 activations")
    if q8_1.gemv_only_intel and vendor != Vendor.INTEL:
        return Ruling(False, f"{workload.type} with q8_1 activations only on Intel")
    if workload.n > 1:
        return Ruling(True, "q8_1 activations for more than one column")
    if vendor == Vendor.NVIDIA:
        return _nvidia(device, workload.type, k)
    if vendor == Vendor.AMD:
        if k < _LEAST_K:
            return Ruling(False, f"on AMD q8_1 only from K = {_LEAST_K}")
        if q8_1.gemv_amd == "gcn":
            arch = limits(device).architecture
            rule = f"on AMD {workload.type} with q8_1 activations only on GCN"
            return ruled(None if arch is None else arch == "amd-gcn", rule, "the architecture")
        return Ruling(True, f"on AMD q8_1 from K = {_LEAST_K}")
    if vendor == Vendor.INTEL:
        return _intel(device, workload.type, k)
    if vendor == Vendor.QUALCOMM:
        return Ruling(False, "on Qualcomm no q8_1 activations for one column")
    return Ruling(True, "q8_1 activations always on this vendor's devices") if vendor else Ruling(None, "the vendor")


def _nvidia(device: DeviceRecord, weight_type: str, k: int) -> Ruling:
    q8_1 = WEIGHT_TYPES[weight_type].q8_1
    if q8_1 is not None and q8_1.gemv_nvidia == "always":
        return Ruling(True, f"on NVIDIA {weight_type} always with q8_1 activations")
    if k <= _NVIDIA_LEAST_K:
        return Ruling(False, f"on NVIDIA q8_1 only for K above {_NVIDIA_LEAST_K}")
    if q8_1 is not None and q8_1.gemv_nvidia == "before-turing":
        rule = f"on NVIDIA {weight_type} with q8_1 activations only before Turing (no VK_KHR_cooperative_matrix)"
        listed = has_extension(device, "VK_KHR_cooperative_matrix")
        return ruled(None if listed is None else not listed, rule, "the extensions")
    return Ruling(True, f"on NVIDIA q8_1 for K above {_NVIDIA_LEAST_K}")


def _intel(device: DeviceRecord, weight_type: str, k: int) -> Ruling:
    q8_1, arch = WEIGHT_TYPES[weight_type].q8_1, limits(device).architecture
    if q8_1 is not None and q8_1.gemv_intel == "xe2":
        if arch == "intel-xe2":
            return Ruling(True, f"on Xe2 {weight_type} always with q8_1 activations")
        if arch is None:
            return Ruling(None, f"the architecture (on Xe2 {weight_type} always with q8_1 activations)")
    if device.driver.id == INTEL_WINDOWS:
        return Ruling(False, "with Intel's Windows driver no q8_1 GEMV")
    if k < _LEAST_K:
        return Ruling(False, f"on Intel q8_1 only from K = {_LEAST_K}")
    if q8_1 is not None and q8_1.gemv_intel == "never":
        return Ruling(False, f"on Intel {weight_type} never with q8_1 activations")
    return Ruling(True, f"on Intel q8_1 from K = {_LEAST_K}")
