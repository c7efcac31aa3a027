"""GGUF files for tests: small ones with their data, and those of known models with a hole in its place."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Ggml

from vkprobe.workloads import Model, Workload


class T(NamedTuple):
    """A tensor to write: `shape` as NumPy has it (m, k), with experts in front."""

    name: str
    type: Ggml
    shape: tuple[int, ...]


def write_gguf(path: Path, tensors: Sequence[T], *, arch: str = "llama", numbers: dict[str, int] | None = None, **options: Any) -> Path:
    """A small GGUF file with all of its data, zeros."""
    writer = gguf.GGUFWriter(path, arch, **options)
    writer.add_name("A model")
    writer.add_token_list(["a", "bc", ""])
    writer.add_token_scores([0.5, 1.5, 2.5])
    for key, value in (numbers or {}).items():
        writer.add_uint32(f"{arch}.{key}", value)
    for tensor in tensors:
        if tensor.type == Ggml.F32:
            writer.add_tensor(tensor.name, np.zeros(tensor.shape, np.float32))
        else:
            stored = gguf.quant_shape_to_byte_shape(tensor.shape, tensor.type)
            writer.add_tensor(tensor.name, np.zeros(stored, np.uint8), raw_dtype=tensor.type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_hollow_gguf(path: Path, tensors: Sequence[T], *, arch: str, numbers: dict[str, int]) -> Path:
    """A GGUF file of any size whose data is a hole."""
    writer = gguf.GGUFWriter(path, arch)
    for key, value in numbers.items():
        writer.add_uint32(f"{arch}.{key}", value)
    data = 0
    for tensor in tensors:
        stored = gguf.quant_shape_to_byte_shape(tensor.shape, tensor.type)
        writer.add_tensor_info(tensor.name, stored, np.dtype(np.uint8), math.prod(stored), raw_dtype=tensor.type)
        data += math.ceil(math.prod(stored) / 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    os.truncate(path, math.ceil(path.stat().st_size / 32) * 32 + data)
    return path


DENSE = [
    T("token_embd.weight", Ggml.Q4_0, (96, 64)),
    T("output.weight", Ggml.Q8_0, (96, 64)),
    T("output_norm.weight", Ggml.F32, (64,)),
    T("rope_freqs.weight", Ggml.F32, (8,)),
    *(
        tensor
        for i in range(3)
        for tensor in (
            T(f"blk.{i}.attn_norm.weight", Ggml.F32, (64,)),
            T(f"blk.{i}.attn_q_norm.weight", Ggml.F32, (4, 16)),
            T(f"blk.{i}.attn_qkv.weight", Ggml.Q4_0, (128, 64)),
            T(f"blk.{i}.attn_qkv.bias", Ggml.F32, (128,)),
            T(f"blk.{i}.attn_output.weight", Ggml.Q4_0, (64, 64)),
            T(f"blk.{i}.ffn_up.weight", Ggml.Q8_0, (160, 64)),
            T(f"blk.{i}.ffn_down.weight", Ggml.F32, (64, 160)),
        )
    ),
]
EXPERTS = [
    T("token_embd.weight", Ggml.Q4_0, (96, 64)),
    T("output.weight", Ggml.Q4_0, (96, 64)),
    *(
        tensor
        for i in range(2)
        for tensor in (
            T(f"blk.{i}.attn_q.weight", Ggml.Q4_0, (64, 64)),
            T(f"blk.{i}.ffn_gate_inp.weight", Ggml.F32, (8, 64)),
            T(f"blk.{i}.ffn_gate_up_exps.weight", Ggml.Q4_0, (8, 192, 64)),
            T(f"blk.{i}.ffn_down_exps.weight", Ggml.Q4_0, (8, 64, 96)),
            T(f"blk.{i}.ffn_down_exps.bias", Ggml.F32, (8, 64)),
        )
    ),
]
EXPERT_NUMBERS = {"block_count": 2, "expert_count": 8, "expert_used_count": 2}


def more_bits(layer: int, layers: int) -> bool:
    """Whether Q4_K_M gives attn_v and ffn_down of a layer Q6_K."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def published(name: str) -> tuple[list[T], str, dict[str, int]]:
    """The matrices of a model's file layer by layer, its architecture and numbers, from its configuration and its mix's rule."""
    hidden, layers, q, kv, ffn, vocabulary, experts, used, arch = {
        "qwen3-8b": (4096, 36, 4096, 1024, 12288, 151936, 0, 0, "qwen3"),
        "llama-3.1-8b": (4096, 32, 4096, 1024, 14336, 128256, 0, 0, "llama"),
        "qwen3-30b-a3b": (2048, 48, 4096, 512, 768, 151936, 128, 8, "qwen3moe"),
        "gpt-oss-20b": (2880, 24, 4096, 512, 2880, 201088, 32, 4, "gpt-oss"),
    }[name]
    oss = arch == "gpt-oss"
    plain, fine, expert = (Ggml.Q8_0, Ggml.Q8_0, Ggml.MXFP4) if oss else (Ggml.Q4_K, Ggml.Q6_K, Ggml.Q4_K)
    tensors = [T("token_embd.weight", plain, (vocabulary, hidden)), T("output.weight", fine, (vocabulary, hidden))]
    stack, suffix = ((experts,), "_exps") if experts else ((), "")
    for i in range(layers):
        better = not oss and more_bits(i, layers)
        tensors += [
            T(f"blk.{i}.attn_q.weight", plain, (q, hidden)),
            T(f"blk.{i}.attn_k.weight", plain, (kv, hidden)),
            T(f"blk.{i}.attn_v.weight", fine if better else plain, (kv, hidden)),
            T(f"blk.{i}.attn_output.weight", plain, (hidden, q)),
            T(f"blk.{i}.ffn_gate{suffix}.weight", expert, (*stack, ffn, hidden)),
            T(f"blk.{i}.ffn_up{suffix}.weight", expert, (*stack, ffn, hidden)),
            T(f"blk.{i}.ffn_down{suffix}.weight", fine if better else expert, (*stack, hidden, ffn)),
        ]
        if experts:
            tensors.append(T(f"blk.{i}.ffn_gate_inp.weight", Ggml.F32, (experts, hidden)))
    return tensors, arch, {"block_count": layers, **({"expert_count": experts, "expert_used_count": used} if experts else {})}


def workload(network: Model, role: str, n_pp: int = 512) -> Workload:
    """The one workload of a role."""
    (only,) = [w for w in network.workloads if w.role == role and w.n_pp == n_pp]
    return only
