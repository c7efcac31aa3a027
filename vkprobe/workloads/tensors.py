"""The tensors of a GGUF file that llama.cpp multiplies by, recognised by name, and how many tokens go through each.

Source: llama.cpp of llama-cpp-python 0.3.36, src/llama-arch.cpp: the tensors' names, and the op that it notes beside each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from vkprobe.errors import UsageError
from vkprobe.weights import WEIGHT_TYPES
from vkprobe.workloads.model import UBATCH, Skipped, Workload

_Counted = TypeVar("_Counted", Workload, Skipped)

_IN_LAYER = re.compile(r"blk\.([0-9]{1,5})\.(.+)\.weight")
_EXPERTS = re.compile(r"ffn_(gate|up|down|gate_up)_exps")
_MULTIPLIED = re.compile(
    r"attn_(q|k|v|qkv|output|gate|q_a|q_b|kv|kv_a_mqa|kv_b)"
    r"|ffn_((gate|up|down)(_shexp)?|gate_inp(_shexp)?|latent_(up|down))"
    r"|ssm_(in|x|dt|out|alpha|beta|ba)"
    r"|shortconv\.(in|out)_proj"
    r"|time_mix_(key|value|receptance|gate|output)|channel_mix_(key|value|receptance)"
    r"|indexer\.(proj|attn_k|attn_q_b)"
    r"|inp_gate|proj|laurel_[lr]"
)
_LOOKED_UP_OR_ELEMENTWISE = re.compile(r"norm|conv1d|shortconv\.conv|embd|token_types|rope_|rel_b|exp_probs|scale|sinks|lerp")
_ALL_ROWS = frozenset(
    (
        *("bailingmoe3", "cohere2moe", "deepseek4", "gemma3n", "gemma4", "gpt-oss", "hrm_text", "hy_v3", "hy_v4", "kimi-k3"),
        *("nemotron_h", "nemotron_h_moe", "qwen35", "qwen35moe", "qwen3next", "step35"),
    )
)
"""Architectures whose last layer's ffn runs on every row; the others' on the rows whose logits are asked for.

Source: llama.cpp of llama-cpp-python 0.3.36, src/models/*.cpp: where the rows of build_inp_out_ids are picked.
"""


class Tensor(Struct, frozen=True):
    """A tensor as its file lists it: `shape` from the fastest dimension on (k, m, experts)."""

    name: str
    type: str
    shape: tuple[int, ...]


class Metadata(Struct, frozen=True, kw_only=True):
    """A file's facts about its model; None for those that it lacks.

    Attributes:
        architecture: as llama.cpp names it (`qwen3moe`).
        layers: how many, those that predict further tokens included.
        nextn_layers: layers at the end that predict further tokens, which llama-bench doesn't run.
        experts_used: how many a token goes through; a list has one number a layer.
    """

    architecture: str | None = None
    layers: int | None = None
    nextn_layers: int = 0
    experts_used: int | Sequence[int] | None = None


class _Place(Struct, frozen=True):
    """Where a matrix stands: its role and layer (None of the lm_head), whether it is a stack of experts, or why it is skipped."""

    role: str
    layer: int | None = None
    experts: bool = False
    reason: str | None = None


def workloads_of(tensors: Iterable[Tensor], metadata: Metadata) -> tuple[tuple[Workload, ...], tuple[Skipped, ...]]:
    """Workloads, and matrices that are skipped, in the tensors' order; vectors, embeddings and convolutions are neither.

    Raises:
        UsageError: there are experts, and the metadata don't say how many a token goes through.
    """
    matrices = [tensor for tensor in tensors if len(tensor.shape) > 1]
    tied = all(tensor.name != "output.weight" for tensor in matrices)
    numbers = [int(match[1]) for tensor in matrices if (match := _IN_LAYER.fullmatch(tensor.name))]
    last = (metadata.layers or max(numbers, default=-1) + 1) - metadata.nextn_layers - 1
    workloads: dict[Workload, int] = {}
    skipped: dict[Skipped, int] = {}
    for tensor in matrices:
        place = _place(tensor, tied=tied, last=last)
        if place is None:
            continue
        k, m = tensor.shape[:2]
        reason = place.reason or (None if tensor.type in WEIGHT_TYPES else f"no kernels for {tensor.type}")
        if reason is not None:
            unused = Skipped(role=place.role, type=tensor.type, m=m, k=k, count=1, reason=reason)
            skipped[unused] = skipped.get(unused, 0) + 1
            continue
        narrow = place.layer == last and place.role.startswith("ffn_") and metadata.architecture not in _ALL_ROWS
        workload = Workload(
            role=place.role,
            m=m,
            k=k,
            type=tensor.type,
            count=1,
            n_pp=1 if narrow or place.layer is None else UBATCH,
            experts=tensor.shape[2] if place.experts else None,
            used=_used(tensor, place.layer, metadata.experts_used) if place.experts else None,
        )
        workloads[workload] = workloads.get(workload, 0) + 1
    return _counted(workloads), _counted(skipped)


def _counted(entries: Mapping[_Counted, int]) -> tuple[_Counted, ...]:
    return tuple(replace(entry, count=count) for entry, count in entries.items())


def _place(tensor: Tensor, *, tied: bool, last: int) -> _Place | None:
    """Where a matrix stands; None where llama.cpp doesn't multiply by it."""
    if tensor.name == ("token_embd.weight" if tied else "output.weight"):
        return _Place("lm_head")
    match = _IN_LAYER.fullmatch(tensor.name)
    role = match[2] if match else tensor.name.removesuffix(".weight")
    if _LOOKED_UP_OR_ELEMENTWISE.search(role) or not tensor.name.endswith(".weight"):
        return None
    if match is None:
        return _Place(role, reason="outside a decoder's layers")
    layer = int(match[1])
    if layer > last:
        return _Place(role, reason="in a layer that predicts further tokens")
    if _EXPERTS.fullmatch(role) and len(tensor.shape) == 3:
        return _Place(role, layer, experts=True)
    if len(tensor.shape) > 2:
        return _Place(role, reason=f"of {len(tensor.shape)} dimensions")
    if not _MULTIPLIED.fullmatch(role):
        return _Place(role, reason="not known as a matrix that is multiplied by")
    return _Place(role, layer)


def _used(tensor: Tensor, layer: int | None, used: int | Sequence[int] | None) -> int:
    """How many of a stack's experts a token goes through."""
    if isinstance(used, Sequence):
        used = used[layer] if layer is not None and layer < len(used) else None
    if used is None or not 1 <= used <= tensor.shape[2]:
        value = "missing" if used is None else str(used)
        raise UsageError(f"{tensor.name} has {tensor.shape[2]} experts, but expert_used_count is {value}")
    return used
