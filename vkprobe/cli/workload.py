"""--model: workloads by a model's name or a GGUF file's path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from vkprobe import ops
from vkprobe.errors import UsageError
from vkprobe.workloads import Model, WorkloadShape, model, names, shapes

F = TypeVar("F", bound=Callable[..., Any])


def model_option(command: F) -> F:
    """Add --model, which the command receives as `models`, a tuple of its values."""
    option = click.option(
        "--model",
        "models",
        multiple=True,
        metavar="NAME|FILE.gguf",
        help=f"A model's shapes, the heaviest first: {', '.join(names())}, or any GGUF file's. May be repeated.",
    )
    return option(command)


def model_of(value: str) -> Model:
    """The model that a --model value names: by name in any case, else a GGUF file's path.

    Raises:
        UsageError: it is neither, or the file can't be used.
    """
    if value.lower() in names():
        return model(value)
    path = Path(value)
    if not value.endswith(".gguf") and not path.exists():
        raise UsageError(f"--model {value}: not known; there is {', '.join(names())}, and the path of any .gguf file is taken too")
    from vkprobe.workloads.gguf_file import read

    return read(path)


def model_shapes(op: str, models: Sequence[Model], types: Sequence[str] = ()) -> list[WorkloadShape]:
    """The distinct shapes of some models for an op, those of the first first; count and share are of the first that has it.

    Args:
        op: gemm, gemv or dequant.
        models: from `model_of`.
        types: only shapes of these weight types; all where empty.

    Raises:
        UsageError: nothing is left.
    """
    part = ops.find(op).part
    listed = [shape for model in models for shape in shapes(model, part)] if part else []
    distinct: dict[tuple[str, int, int, int], WorkloadShape] = {}
    for shape in listed:
        if not types or shape.type in types:
            distinct.setdefault((shape.type, shape.m, shape.n, shape.k), shape)
    if models and not distinct:
        has = f"only {', '.join(dict.fromkeys(shape.type for shape in listed))}" if listed else "no shape at all"
        wanted = f" with --type {','.join(types)}" if types else ""
        raise UsageError(f"{op} --model {' '.join(model.name for model in models)}{wanted}: nothing to measure; there is {has}")
    return list(distinct.values())


def skipped_note(model: Model) -> str | None:
    """A sentence on a file's matrices that are not measured; None where there are none."""
    if not model.skipped:
        return None
    by_reason: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for entry in model.skipped:
        roles = by_reason.setdefault(entry.reason, [])
        if entry.role not in roles:
            roles.append(entry.role)
        counts[entry.reason] = counts.get(entry.reason, 0) + entry.count
    parts = [f"{counts[reason]} {reason} ({', '.join(roles)})" for reason, roles in by_reason.items()]
    return f"{model.name}: not measured: {'; '.join(parts)}"
