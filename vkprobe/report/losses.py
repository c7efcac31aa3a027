"""Gaps in words: the requirement cells of the matrix and the "what is missing" of each device."""

from __future__ import annotations

from vkprobe.report.model import Cell, Loss, Section
from vkprobe.requirements import Gap, Missing, Requirement, requirements
from vkprobe.requirements.promotions import PROVIDERS, base_name


def gap_cell(gap: Gap, need: Requirement) -> Cell:
    """`yes`, `partial n of m`, `no: first missing`, or `unknown`, with everything that is missing as the reason."""
    if gap.met is True:
        return Cell(status="met", text="yes", gap=gap)
    reason = missing_in_words(gap)
    if gap.met is None:
        return Cell(status="unknown", text="unknown", reason=f"the facts do not tell: {reason}", gap=gap)
    if gap.part is not None and gap.part[0]:
        held, total = gap.part
        if held < total:
            return Cell(status="partial", text=f"partial {held} of {total}", reason=reason, gap=gap)
        return Cell(status="partial", text=f"partial {gap.held} of {gap.total}", reason=reason, gap=gap)
    first = next(m for m in gap.missing if m.have is not None)
    return Cell(status="unmet", text=f"no: {short_name(first)}", reason=reason, gap=gap)


def short_name(missing: Missing) -> str:
    """The member, without its struct and nesting; extensions and tuples as they are."""
    return missing.name if missing.kind in ("extension", "tuple") else " or ".join(n.rpartition(".")[2] for n in missing.name.split(" or "))


def in_words(missing: Missing) -> str:
    """One missing condition: what, what is needed and what there is."""
    name = short_name(missing)
    if missing.have is None:
        return f"{name} unknown"
    if missing.kind == "extension":
        return f"{name} not listed"
    if missing.kind == "feature":
        return f"{name} off"
    if missing.kind == "tuple":
        return f"no tuple {name}"
    if isinstance(missing.need, bool):
        return f"{name} is {'false' if missing.need else 'true'}"
    need = " and ".join(missing.need) if isinstance(missing.need, tuple) else missing.need
    return f"{name} is {missing.have}, needed {need}"


def missing_in_words(gap: Gap) -> str:
    """All that is missing; of an extension that is missing as a whole, not its parts."""
    lacking = {m.name for m in gap.missing if m.kind == "extension" and m.have is False}
    shown = [m for m in gap.missing if not _comes_with(m, lacking)]
    words = [in_words(m) for m in shown]
    listed = dict.fromkeys(str(m.have) for m in shown if m.kind == "tuple" and m.have is not None)
    if listed:
        words[-1] += f" (the device lists {'; '.join(listed)})"
    return "; ".join(words)


def _comes_with(missing: Missing, extensions: set[str]) -> bool:
    """Whether a missing condition needs no words of its own: it is part of an extension that is missing as a whole."""
    if missing.kind == "tuple":
        return isinstance(missing.have, str) and missing.have.removeprefix("no ") in extensions
    provider = PROVIDERS.get(base_name(missing.name.partition(".")[0]))
    return provider is not None and provider.extension in extensions


def losses_of(section: Section) -> tuple[Loss, ...]:
    """Every path that a device lacks, by device, with who has it."""
    labels = {r.path: r.label for r in requirements()}
    losses = []
    for index, column in enumerate(section.columns):
        for row in section.rows:
            gap = row.cells[index].gap
            if gap is None or gap.met is True:
                continue
            owners = tuple(c for c, cell in zip(section.columns, row.cells, strict=True) if cell.gap is not None and cell.gap.met)
            losses.append(
                Loss(
                    column=column,
                    path=gap.path,
                    label=labels[gap.path],
                    met=gap.met,
                    missing=missing_in_words(gap),
                    sources=tuple(dict.fromkeys(m.source for m in gap.missing)),
                    owners=owners,
                )
            )
    return tuple(losses)
