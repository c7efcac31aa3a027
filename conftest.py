"""Which modules' examples pytest may run: most of the worker's can only be imported where a Vulkan loader is."""

from __future__ import annotations

from pathlib import Path

_WITHOUT_LOADER = {"__init__", "components", "coopmat", "failure", "formats", "modules", "verify"}

try:
    import vulkan  # noqa: F401
except OSError:
    _worker = Path(__file__).parent / "vkprobe" / "worker"
    collect_ignore = [str(path) for path in _worker.rglob("*.py") if path.parent != _worker or path.stem not in _WITHOUT_LOADER]
