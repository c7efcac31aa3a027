"""Which modules' examples pytest may run: most of the worker's can only be imported where a Vulkan loader is."""

from __future__ import annotations

try:
    import vulkan  # noqa: F401
except OSError:
    collect_ignore_glob = ["vkprobe/worker/vk/*", "vkprobe/worker/[dflst]*.py"]
