"""Missing conditions in words."""

from __future__ import annotations

from vkprobe.requirements.model import Missing


def short_name(missing: Missing) -> str:
    """The member, without its struct and nesting; extensions and tuples as they are."""
    return missing.short or missing.name


def condition_in_words(missing: Missing) -> str:
    """A missing condition: what, what is needed and what there is."""
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
