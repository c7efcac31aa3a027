"""Which path llama.cpp takes on a device for a matrix product, and why not a better one: a pure function of the device's facts.

What the facts do not tell leaves the choice open (path None), and `because` says what would decide it.
Source: llama.cpp@b10249 ggml-vulkan.cpp:6029-6748 (paths), 9228 (q8_1 GEMV), 9856 (GEMV or GEMM), 8529-8605 (tiles, split-k).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from vkprobe.bench.device import Limits, Vendor, limits
from vkprobe.bench.tiles import gemm_tile
from vkprobe.records import DeviceRecord
from vkprobe.requirements.choice_tiles import Block, coopmat2_block, split_k
from vkprobe.requirements.choice_vendor import Ruling, architecture, coopmat_allowed, left_out, ruled, shader_cores
from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.facts import has_extension, lookup
from vkprobe.requirements.load import requirement
from vkprobe.requirements.model import Gap

TYPES = ("f32", "f16", "bf16", "q4_0", "q8_0", "q4_k", "q5_k", "q6_k", "iq4_xs", "mxfp4")
GEMV_COLUMNS = 8
"""With up to so many columns llama.cpp multiplies a matrix with vectors."""

_UNQUANTISED = frozenset({"f32", "f16", "bf16"})
_WITH_Q8_1 = frozenset({"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "mxfp4"})
"""Types that have kernels for q8_1 activations; the IQ4 types have none at b10249, later ones have."""
_PATHS = ("scalar-f32", "scalar-f16", "dot2", "intdot", "intdot-gemv", "coopmat", "coopmat-bf16", "coopmat2")


class Workload(NamedTuple):
    """A product D[n, m] = B[n, k] * A[m, k]^T with weights A of `type`."""

    type: str
    m: int
    n: int
    k: int

    @property
    def op(self) -> str:
        """`gemv` for up to 8 columns, else `gemm`."""
        return "gemv" if self.n <= GEMV_COLUMNS else "gemm"


WORKLOADS = tuple(Workload(t, 4096, n, k) for n, k in ((512, 4096), (1, 4096), (1, 12288), (8, 4096)) for t in TYPES)
"""An 8B model's: prompt processing, token generation at both of its K, and eight tokens at once."""


class Choice(Struct, frozen=True, kw_only=True):
    """What llama.cpp takes for a workload.

    Attributes:
        path: None where the facts do not tell, `none` where llama.cpp does not take the device at all.
        because: what decided it; for an open choice, what would.
        tile: of a GEMM, the workgroup tile in words (`l 128x256`); None where the facts do not tell.
        split_k: over how many workgroups K is split; None where the facts do not tell.
        left_out: why llama.cpp's default device list leaves the device out; None where it doesn't.
    """

    workload: Workload
    path: str | None
    because: str
    tile: str | None = None
    split_k: int | None = None
    left_out: str | None = None


class _Candidate(NamedTuple):
    path: str
    ruling: Ruling


class _Known:
    """A device's gaps and rulings, each worked out once."""

    def __init__(self, device: DeviceRecord) -> None:
        self.device = device
        self.gaps = {path: evaluate(device, requirement(path)) for path in _PATHS}
        self.allowed = coopmat_allowed(device)
        self.architecture = architecture(device)
        self.cores = shader_cores(device)
        self.limits = _limits(device) if _tile_known(device) else None

    def needs(self, *paths: str, allowed: bool = False) -> Ruling:
        """Whether all these paths' requirements hold and, with `allowed`, the vendor's rule; the first that decides gives the words."""
        rulings = [Ruling(self.gaps[path].met, lacking(self.gaps[path])) for path in paths]
        rulings += [self.allowed] if allowed else []
        for answer in (False, None):
            for ruling in rulings:
                if ruling.holds is answer:
                    return ruling
        return Ruling(True, "all that it needs is there")


def lacking(gap: Gap) -> str:
    """What is missing, brief: the first condition that decides, and how many there are besides."""
    deciding = [m for m in gap.missing if m.have is not None] if gap.met is False else list(gap.missing)
    if not deciding:
        return "nothing"
    first = deciding[0]
    if first.have is None:
        words = first.name.rpartition(".")[2] if first.kind != "tuple" else f"a tuple {first.name}"
    elif first.kind == "extension":
        return f"{first.name} not listed"  # its features and properties are missing with it
    elif first.kind == "tuple":
        words = f"no tuple {first.name}"
    else:
        words = f"{first.name.rpartition('.')[2]} " + ("off" if first.have is False else f"is {first.have}")
    return words + (f" and {len(deciding) - 1} more" if len(deciding) > 1 else "")


def _limits(device: DeviceRecord) -> Limits:
    """What tiles follow from; vkprobe spares lavapipe the large tile, llama.cpp does not."""
    found = limits(device)
    return msgspec.structs.replace(found, driver_id="") if found.driver_id == "VK_DRIVER_ID_MESA_LLVMPIPE" else found


def _tile_known(device: DeviceRecord) -> bool:
    asked = (
        ("VkPhysicalDeviceSubgroupProperties", "subgroupSize"),
        ("VkPhysicalDeviceProperties", "limits.maxComputeSharedMemorySize"),
        ("VkPhysicalDeviceProperties", "limits.maxComputeWorkGroupInvocations"),
    )
    return all(lookup(device.properties, struct, member) is not None for struct, member in asked)


def choices(device: DeviceRecord, workloads: Sequence[Workload] = WORKLOADS, others: Iterable[DeviceRecord] = ()) -> list[Choice]:
    """llama.cpp's choice for each workload; `others` are the devices beside it on the same machine."""
    known = _Known(device)
    out = left_out(device, others)
    base = known.gaps["scalar-f32"]
    if base.met is False:
        refused = f"llama.cpp does not take the device: {lacking(base)}"
        return [Choice(workload=w, path="none", because=refused) for w in workloads]
    made = [_gemv(known, w) if w.op == "gemv" else _gemm(known, w) for w in workloads]
    return [msgspec.structs.replace(choice, left_out=out) for choice in made] if out else made


def _candidates(known: _Known, weight_type: str) -> list[_Candidate]:
    """The GEMM paths for a weight type, the best first."""
    if weight_type == "bf16":
        return [
            _Candidate("coopmat2", known.needs("coopmat2", "coopmat-bf16", allowed=True)),
            _Candidate("coopmat", known.needs("coopmat-bf16", allowed=True)),
            _Candidate("scalar-f32", known.needs("scalar-f32")),  # without bf16 matrix units it is promoted to f32
        ]
    found = [_Candidate("coopmat2", known.needs("coopmat2")), _Candidate("coopmat", known.needs("coopmat", allowed=True))]
    if weight_type in _WITH_Q8_1:
        found.append(_Candidate("intdot", known.needs("intdot")))
    return [*found, *(_Candidate(path, known.needs(path)) for path in ("dot2", "scalar-f16", "scalar-f32"))]


def _gemm(known: _Known, workload: Workload) -> Choice:
    refused: list[str] = []
    for position, (path, ruling) in enumerate(candidates := _candidates(known, workload.type)):
        if ruling.holds is False:
            refused.append(f"no {path}: {ruling.because}{_banner(known, path)}")
            continue
        if ruling.holds is None:
            after = next((c for c in candidates[position + 1 :] if c.ruling.holds is not False), None)
            without = f", without it {after.path}" + ("" if after.ruling.holds else ", if that is met") if after else ""
            open_because = f"the facts do not tell of {ruling.because}: with it {path}{without}"
            return Choice(workload=workload, path=None, because="; ".join([open_because, *refused]))
        tile, splits, words = _tiled(known, workload, path)
        return Choice(workload=workload, path=path, because="; ".join([*(refused or [ruling.because]), words]), tile=tile, split_k=splits)
    return Choice(workload=workload, path="none", because="; ".join(refused))


def _banner(known: _Known, path: str) -> str:
    """A warning where llama.cpp's own start-up line claims more than it does."""
    part = known.gaps["coopmat2"].part
    if path != "coopmat2" or part is None or part[0] < part[1] or known.gaps["coopmat2"].met is not False:
        return ""
    return " (llama.cpp's banner says NV_coopmat2 all the same: it looks at the seven features only)"


def _tiled(known: _Known, workload: Workload, path: str) -> tuple[str | None, int | None, str]:
    """Tile, split of K, and both in words."""
    block: Block | None = None
    if path == "coopmat2" and known.cores is not None:
        block = coopmat2_block(workload.type not in _UNQUANTISED, workload.m, workload.n, known.cores)
    elif path != "coopmat2" and known.limits is not None:
        beside_matrices = workload.type == "bf16" and path == "scalar-f32" and known.needs("coopmat", allowed=True).holds
        of = msgspec.structs.replace(known.limits, vendor=0) if beside_matrices else known.limits  # AMD's and Intel's limit is lifted
        block = _scalar_block(of, known.device, workload, path)
    if block is None:
        return None, None, "its tile depends on " + ("the shader core count" if path == "coopmat2" else "limits") + ", not told"
    splits = None if known.cores is None else split_k(block.bm, block.bn, workload.m, workload.n, workload.k, known.cores)
    words = f"tile {block.bm}x{block.bn} ({block.size})"
    if path == "coopmat2":
        words += f" for {known.cores} shader cores" if known.cores else " for want of a shader core count"
    if splits is None:
        words += ", split-k by llama.cpp's own table of shader cores"
    elif splits > 1:
        words += f", K split over {splits}"
    return f"{block.size} {block.bm}x{block.bn}", splits, words


def _scalar_block(known: Limits, device: DeviceRecord, workload: Workload, path: str) -> Block:
    matrix = None
    if path == "coopmat":
        first = next(t for t in device.coopmat.khr or [] if t.a == t.b == "f16" and t.scope == "subgroup" and t.c in ("f16", "f32"))
        matrix = (first.m, first.n, first.k)
    tile = gemm_tile(known, path, "f32", workload.m, workload.n, matrix)
    return Block(tile.size, tile.bm, tile.bn)


def _gemv(known: _Known, workload: Workload) -> Choice:
    """Float or q8_1 activations: token generation computes in f32 or in packed 8-bit products."""
    if workload.type not in _WITH_Q8_1:
        reason = (
            "the type is not quantised"
            if workload.type in _UNQUANTISED
            else f"no kernel for {workload.type} with q8_1 activations in b10249"
        )
        return Choice(workload=workload, path="scalar-f32", because=f"{reason}: the float GEMV")
    wanted = _wants_q8_1(known, workload)
    if wanted.holds is False:
        return Choice(workload=workload, path="scalar-f32", because=f"{wanted.because}: the float GEMV")
    offered = known.needs("intdot-gemv")
    if offered.holds is False:
        return Choice(workload=workload, path="scalar-f32", because=f"no intdot: {offered.because}")
    if wanted.holds is None or offered.holds is None:
        deciding = wanted.because if wanted.holds is None else offered.because
        return Choice(workload=workload, path=None, because=f"the facts do not tell of {deciding}: with it intdot, without it scalar-f32")
    return Choice(workload=workload, path="intdot", because=wanted.because)


_NVIDIA_LEAST_K = 4096
_LEAST_K = 2048


def _wants_q8_1(known: _Known, workload: Workload) -> Ruling:
    """The heuristics of llama.cpp's choice between float and q8_1 GEMV, by vendor, type, N and K."""
    vendor, weight_type, k = known.device.hardware.vendor_id, workload.type, workload.k
    if weight_type == "q6_k" and vendor != Vendor.INTEL:
        return Ruling(False, "q6_k never with q8_1 activations but on Intel")
    if workload.n > 1:
        return Ruling(True, "q8_1 activations for more than one column")
    if vendor == Vendor.NVIDIA:
        return _nvidia(known.device, weight_type, k)
    if vendor == Vendor.AMD:
        if k < _LEAST_K:
            return Ruling(False, f"on AMD q8_1 only from K = {_LEAST_K}")
        if weight_type == "q8_0":
            rule = "on AMD q8_0 with q8_1 activations only on GCN"
            return ruled(None if known.architecture is None else known.architecture == "amd-gcn", rule, "the architecture")
        return Ruling(True, f"on AMD q8_1 from K = {_LEAST_K}")
    if vendor == Vendor.INTEL:
        return _intel(known, weight_type, k)
    return Ruling(True, "q8_1 activations always on this vendor's devices") if vendor else Ruling(None, "the vendor")


def _nvidia(device: DeviceRecord, weight_type: str, k: int) -> Ruling:
    if weight_type in ("q2_k", "q3_k"):
        return Ruling(True, f"on NVIDIA {weight_type} always with q8_1 activations")
    if k <= _NVIDIA_LEAST_K:
        return Ruling(False, f"on NVIDIA q8_1 only for K above {_NVIDIA_LEAST_K}")
    if weight_type in ("mxfp4", "q8_0"):
        rule = f"on NVIDIA {weight_type} with q8_1 activations only before Turing (no VK_KHR_cooperative_matrix)"
        listed = has_extension(device, "VK_KHR_cooperative_matrix")
        return ruled(None if listed is None else not listed, rule, "the extensions")
    return Ruling(True, f"on NVIDIA q8_1 for K above {_NVIDIA_LEAST_K}")


def _intel(known: _Known, weight_type: str, k: int) -> Ruling:
    if known.architecture == "intel-xe2" and weight_type in ("q2_k", "q3_k", "q6_k"):
        return Ruling(True, f"on Xe2 {weight_type} always with q8_1 activations")
    if known.device.driver.id == "VK_DRIVER_ID_INTEL_PROPRIETARY_WINDOWS":
        return Ruling(False, "with Intel's Windows driver no q8_1 GEMV")
    if k < _LEAST_K:
        return Ruling(False, f"on Intel q8_1 only from K = {_LEAST_K}")
    if weight_type in ("q4_0", "q5_1"):
        return Ruling(False, f"on Intel {weight_type} never with q8_1 activations")
    return Ruling(True, f"on Intel q8_1 from K = {_LEAST_K}")
