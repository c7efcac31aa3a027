"""Which modules' examples pytest may run, most of the worker's only where a Vulkan loader is; and what pytest-xdist puts into the way."""

from __future__ import annotations

import os
from pathlib import Path

# Tests run vkprobe and pytest as users do: as wide as a file may be, and not as the worker of another session.
for _name in ("COLUMNS", *(name for name in os.environ if name.startswith("PYTEST_XDIST_"))):
    os.environ.pop(_name, None)

_WITHOUT_LOADER = {"__init__", "components", "coopmat", "failure", "formats", "modules", "verify"}

try:
    import vulkan  # noqa: F401
except OSError:
    _worker = Path(__file__).parent / "vkprobe" / "worker"
    collect_ignore = [str(path) for path in _worker.rglob("*.py") if path.parent != _worker or path.stem not in _WITHOUT_LOADER]
