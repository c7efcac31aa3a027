"""The matrices that a model's evaluation multiplies by, and the kernel shapes that stand for them.

pp512 is one graph of 512 tokens (llama.cpp's default n_ubatch), tg128 128 graphs of one.
Source: llama.cpp of llama-cpp-python 0.3.36, src/models/*.cpp: the graphs, and where rows are picked.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union

from msgspec import Meta, Struct

from vkprobe.llama.rows import MOST_COLUMNS
from vkprobe.weights import WEIGHT_TYPES

UBATCH = 512
"""Tokens of one graph of pp512."""

Part = Literal["prompt", "token", "matrices"]
"""A part of a model's work: products of a prompt (pp512), products of one token (tg128), each matrix once."""
Size = Annotated[int, Meta(ge=1)]
Word = Annotated[str, Meta(min_length=1)]


class Workload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Matrices of one role, shape and type: f32[tokens, m] = f32[tokens, k] x type[m, k]^T.

    Experts: llama.cpp multiplies by all those of a layer in one MUL_MAT_ID, whose rows are sorted by expert. Here each
    expert's product stands for its part of that op: `used` experts a token, so that an expert has tokens * used / experts
    rows on average where the router spreads evenly (32 of pp512 for 8 of 128), and one row in token generation. Routers
    don't spread evenly, and the op's gathering of rows is not in it.

    Attributes:
        role: the tensor's name in GGUF without `blk.N.` and `.weight` (`attn_q`); `lm_head` for the output.
        m: rows, the output's width.
        k: columns, the reduction; a multiple of the type's block.
        type: of `vkprobe.weights`.
        count: such matrices of the model; of experts, such stacks.
        n_pp: tokens that go through it in pp512; 1 where llama.cpp keeps only the row whose logits are asked for: the lm_head,
            and of most models the last layer's ffn.
        n_tg: the same of one graph of tg128.
        experts: how many a stack has; None where it is one matrix.
        used: how many of them a token goes through.
    """

    role: Word
    m: Size
    k: Size
    type: Word
    count: Size
    n_pp: Size
    n_tg: Size = 1
    experts: Union[Size, None] = None
    used: Union[Size, None] = None

    def __post_init__(self) -> None:
        if self.type not in WEIGHT_TYPES:
            raise ValueError(f"{self.role}: no weight type {self.type}; there is {', '.join(WEIGHT_TYPES)}")
        block = WEIGHT_TYPES[self.type].elements
        if self.k % block:
            raise ValueError(f"{self.role}: k = {self.k} is not a multiple of {self.type}'s block of {block}")
        if (self.experts is None) != (self.used is None):
            raise ValueError(f"{self.role}: `experts` and `used` come together")
        if self.experts is not None and self.used is not None and self.used > self.experts:
            raise ValueError(f"{self.role}: {self.used} of {self.experts} experts used")

    @property
    def matrices(self) -> int:
        """Matrices in all, each expert's counted."""
        return self.count * (self.experts or 1)

    def products(self, tokens: int) -> tuple[int, int]:
        """Columns of each product, and how many there are, where `tokens` go through.

        >>> Workload(role="ffn_up_exps", m=768, k=2048, type="f16", count=48, n_pp=512, experts=128, used=8).products(512)
        (32, 6144)
        """
        if self.experts is None or self.used is None:
            return tokens, self.count
        rows = tokens * self.used
        busy = min(self.experts, rows)
        return round(rows / busy), self.count * busy

    def flop(self, tokens: int) -> int:
        """FLOP where `tokens` go through: 2 m k for each row."""
        return 2 * self.m * self.k * tokens * (self.used or 1) * self.count

    def weight_bytes(self, tokens: int) -> int:
        """B of weights read, each matrix once, where `tokens` go through."""
        return self.products(tokens)[1] * self.m * WEIGHT_TYPES[self.type].row_bytes(self.k)


class Skipped(Struct, frozen=True, kw_only=True):
    """Matrices of a file that no kernel stands for; fields as `Workload` has them, `reason` a clause."""

    role: str
    type: str
    m: int
    k: int
    count: int
    reason: str


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's workloads.

    Attributes:
        name: as --model takes it; of a file, its name without `.gguf`.
        title: model and quantisation, for print.
        source: where the figures come from; of a file, its path.
        skipped: only of files.
    """

    name: Word
    title: Word
    source: Word
    workloads: Annotated[tuple[Workload, ...], Meta(min_length=1)]
    skipped: tuple[Skipped, ...] = ()

    @property
    def pp_flop(self) -> int:
        """FLOP of the matrix products of pp512."""
        return sum(w.flop(w.n_pp) for w in self.workloads)

    @property
    def tg_bytes(self) -> int:
        """B of weights read for one token of tg128."""
        return sum(w.weight_bytes(w.n_tg) for w in self.workloads)


class WorkloadShape(Struct, frozen=True, kw_only=True):
    """One distinct kernel shape of a model.

    Attributes:
        type: the weights' type.
        m: weight rows.
        n: tokens, an expert's product's average rows; 1 for matrices.
        k: the reduction.
        count: how often it runs in one evaluation (of pp512, or of a token of tg128); how many such matrices there are.
        roles: whose shape it is, those of a model in its order.
        share: of the part's FLOP (of its elements, for matrices), 0 to 1.
    """

    type: str
    m: int
    n: int
    k: int
    count: int
    roles: tuple[str, ...]
    share: float


def shapes(model: Model, part: Part) -> tuple[WorkloadShape, ...]:
    """The distinct shapes of a part of a model's work, the largest share first; equal shares by type, then M, N, K.

    A prompt's are the products that more than 8 tokens of pp512 go through: those with one row (lm_head) aren't among them, and
    aren't added to a token's either, which are those of token generation alone.
    """
    counts: dict[tuple[str, int, int, int], int] = {}
    work: dict[tuple[str, int, int, int], int] = {}
    roles: dict[tuple[str, int, int, int], list[str]] = {}
    for workload in model.workloads:
        if part == "prompt" and workload.n_pp <= MOST_COLUMNS:
            continue
        tokens = workload.n_pp if part == "prompt" else workload.n_tg
        n, count = workload.products(tokens) if part != "matrices" else (1, workload.matrices)
        amount = workload.flop(tokens) if part != "matrices" else workload.m * workload.k * workload.matrices
        key = (workload.type, workload.m, n, workload.k)
        counts[key] = counts.get(key, 0) + count
        work[key] = work.get(key, 0) + amount
        if workload.role not in roles.setdefault(key, []):
            roles[key].append(workload.role)
    total = sum(work.values())
    return tuple(
        WorkloadShape(type=t, m=m, n=n, k=k, count=counts[t, m, n, k], roles=tuple(roles[t, m, n, k]), share=work[t, m, n, k] / total)
        for t, m, n, k in sorted(counts, key=lambda key: (-work[key], key))
    )
