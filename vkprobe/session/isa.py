"""Texts of a driver's compiler: matrix instructions counted in its ISA, every representation written to files.

Source: what RADV (LLVM's disassembler), NVK (NAK), ANV (brw), Turnip (ir3) and Honeykrisp (agx) print; Mesa 25.0 and 26.1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from vkprobe.errors import UsageError

_ISA = re.compile(r"assembly", re.IGNORECASE)  # Assembly, NAK assembly, GEN Assembly, IR3 Assembly
_WHOLE = re.compile(r"\b(?:s_endpgm|exit|EOT|end|stop)\b")
"""How a program ends, one way for each ISA: a RADV without a disassembler has a text of another kind under that name."""
_MATRIX = re.compile(
    r"""\b(?:
        v_(?:wmma|swmmac|mfma|smfmac)_\w+   # AMD RDNA3, RDNA4, CDNA
      | [hidqb]mma\.\w+                     # NVIDIA; not HFMA2.MMA, which is no matrix instruction
      | dpasw?\.\w+                         # Intel
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.@+-]+")


def matrix_instructions(texts: Mapping[str, str]) -> int | None:
    """How many matrix instructions the ISA has; None where no whole ISA listing is given.

    >>> matrix_instructions({"Assembly": "v_wmma_f16_16x16x16_f16 v[4:7], v[72:79], v[112:119], v[4:7]\\ns_endpgm\\n"})
    1
    """
    listings = [text for name, text in texts.items() if _ISA.search(name) and _WHOLE.search(text)]
    return sum(len(_MATRIX.findall(text)) for text in listings) if listings else None


def safe(name: str) -> str:
    """A name that any file system takes.

    >>> safe("radv:navi31@trixie/0"), safe("NIR Shader(s)"), safe("../x")
    ('radv_navi31@trixie_0', 'NIR_Shader_s', 'x')
    """
    return _UNSAFE.sub("_", name).strip("._") or "_"


class IsaFolder:
    """A folder of texts: `DEVICE/KERNEL-TILE.NAME.txt`, one for each pipeline and representation.

    Raises:
        UsageError: it can't be made or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise UsageError(f"--isa {path}: is a file; name a folder") from None
        except OSError as error:
            raise UsageError(f"--isa {path}: can't be made: {error.strerror}") from None
        if not os.access(path, os.W_OK | os.X_OK):
            raise UsageError(f"--isa {path}: can't be written: Permission denied")

    def write(self, device: str, pipeline: str, texts: Mapping[str, str]) -> None:
        """Write each text whole or not at all; one of an earlier run is replaced."""
        folder = self._path / safe(device)
        for name, text in texts.items():
            file = folder / f"{safe(pipeline)}.{safe(name)}.txt"
            partial = file.with_name(file.name + ".part")
            try:
                folder.mkdir(exist_ok=True)
                try:
                    partial.write_text(text, encoding="utf-8")
                    partial.replace(file)
                finally:
                    partial.unlink(missing_ok=True)
            except OSError as error:
                raise UsageError(f"{file}: can't be written: {error.strerror}") from None
