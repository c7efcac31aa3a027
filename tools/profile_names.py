"""Writes the checked-in names that Profiles files need of the Khronos registry: `python -m tools.profile_names [--check]`.

Development only: it needs `vulkan-object` (dependency group `dev`). `--check` writes nothing and ends with status 1 where the
file differs from what would be written.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

PATH = Path(__file__).resolve().parent.parent / "vkprobe/results/profile_names.py"

_DOC = '''"""Names for Vulkan-Profiles files, of the Vulkan registry {version}. Written by `python -m tools.profile_names`, never by hand.

EXTENSIONS: every extension.
SINGLE: members of property structs that hold one flag bit, which a profile names alone, not in a list.
"""

'''


def generated(registry: Any) -> str:
    """The module's text, from vulkan-object's registry."""
    single = sorted(
        f"{name}.{member.name}"
        for name, struct in registry.structs.items()
        if {"VkPhysicalDeviceProperties2", "VkPhysicalDeviceFeatures2"} & set(struct.extends)
        for member in struct.members
        if member.type in registry.bitmasks
    )
    names = "\n".join(textwrap.wrap(" ".join(sorted(registry.extensions)), 120, break_on_hyphens=False))
    members = "\n".join(single)
    return _DOC.format(version=registry.headerVersionComplete) + f'EXTENSIONS = """\n{names}\n"""\n\nSINGLE = """\n{members}\n"""\n'


def main() -> int:
    """Write the file, or with --check compare it."""
    from vulkan_object import get_vulkan_object

    text = generated(get_vulkan_object())
    if "--check" in sys.argv[1:]:
        return int(PATH.read_text(encoding="utf-8") != text)
    PATH.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
