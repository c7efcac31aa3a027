"""The package as a whole: one revision, sources for every rule, and nothing but facts to depend on."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import vkprobe
from tests.pure.llama.facts import MATRIX, RDNA3, device_limits, recorded, without
from vkprobe.llama import REVISION
from vkprobe.llama.layout import gemm_layout, gemv_layout
from vkprobe.llama.paths import Workload, choose
from vkprobe.weights import Q8_1, WEIGHT_TYPES, WeightType

ROOT = Path(vkprobe.__file__).parent
MODULES = sorted((ROOT / "llama").glob("*.py"))
ALLOWED = ("vkprobe.records", "vkprobe.cell", "vkprobe.program", "vkprobe.weights", "vkprobe.llama", "vkprobe.requirements")
REQUIREMENTS = {"facts", "evaluate", "load", "model", "promotions", "words"}


def imported(tree: ast.Module) -> set[str]:
    """The modules that a module imports."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_rules_depend_on_facts_alone(path: Path) -> None:
    """No numpy, no driver, no kernels."""
    for name in imported(ast.parse(path.read_text())):
        if name.startswith("vkprobe"):
            assert name.startswith(ALLOWED), name
            if name.startswith("vkprobe.requirements"):
                assert name.rpartition(".")[2] in REQUIREMENTS, name
        else:
            assert name in {"__future__", "collections.abc", "enum", "functools", "math", "msgspec", "typing"}, name


def test_the_revision_has_one_place() -> None:
    """Everything else names lines of it."""
    assert [path.stem for path in MODULES if REVISION[:7] in path.read_text()] == ["__init__"]
    assert not [path.stem for path in MODULES if re.search(r"\bb\d{4,}\b", path.read_text())]


CITED = re.compile(r"(?:[\w-]+\.(?:cpp|h|comp|glsl)):(\d+)(?:-(\d+))?")


def docstrings(path: Path) -> dict[str, str]:
    """The docstring of each public function, by its name, without the methods of classes."""
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    return {node.name: ast.get_docstring(node) or "" for node in functions if not node.name.startswith("_")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_rule_names_the_lines_that_it_follows(path: Path) -> None:
    """The lines are in llama.cpp's files, and ranges run forwards; rules that aren't llama.cpp's are listed here."""
    for name, text in docstrings(path).items():
        source = text.partition("Source:")[2]
        assert bool(CITED.search(source)) is (name not in OWN), name
        assert all(not last or int(first) < int(last) for first, last in CITED.findall(source))


OWN = {
    "fitted",  # adaptations and kernels of vkprobe's
    "fold",
    "reduced_bytes",
    "ruled",  # words
    "lacking",
    "caution",
    "gemm_layout",  # put together of rules
    "gemv_layout",
    "choose",
    "split",
}


def test_a_new_weight_type_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """One like iq4_nl, with q8_1 kernels for int8 matrices alone, and one like q4_1, whose blocks have an offset."""
    q8_1 = Q8_1(gemm=False, gemv=False, int8_table_bytes=16)
    rows = {
        "looked-up": WeightType(elements=32, bytes=18, gemv_rows=2, gemv_unit="kq", gemv_wide=True, table_bytes=64, q8_1=q8_1),
        "offset": WeightType(
            elements=32,
            bytes=20,
            gemv_unit="stdq",
            gemv_scale_bytes=16,
            q8_1=Q8_1(int8_architectures=("amd-rdna3",), int8_offset=True, staged_words=5),
        ),
    }
    for name, row in rows.items():
        monkeypatch.setitem(WEIGHT_TYPES, name, row)
    navi31, gfx1201 = recorded("radv-navi31-mesa-26.1"), recorded("radv-gfx1201")
    bare = without(navi31, "VK_KHR_cooperative_matrix")

    def taken(name: str, n: int) -> list[tuple[str | None, str | None]]:
        return [(c.path, c.accumulator) for of in (navi31, gfx1201, bare) for c in choose(of, [Workload(name, 4096, n, 4096)])]

    assert taken("looked-up", 512) == [("coopmat", "s32"), ("coopmat", "s32"), ("dot2", "f16")]
    assert taken("offset", 512) == [("coopmat", "s32"), ("coopmat", "f16"), ("intdot", "f32")]
    assert taken("looked-up", 1) == [("scalar-f32", "f32")] * 3
    assert taken("offset", 1) == [("intdot", "f32")] * 3
    device = device_limits(**RDNA3)
    assert gemv_layout(device, "offset", 4096, 1, 4096, "scalar-f32").shared_bytes == 4 + 16 * 64
    assert gemm_layout(device, "offset", 4096, 512, 4096, "coopmat", "s32", MATRIX).shared_bytes == 45056
    assert gemm_layout(device, "looked-up", 4096, 512, 4096, "coopmat", "s32", MATRIX).shared_bytes == 40976
    with pytest.raises(KeyError, match="no GEMM of looked-up by integer dot products"):
        gemm_layout(device, "looked-up", 4096, 512, 4096, "intdot", "f32")
    with pytest.raises(KeyError, match="no GEMV of looked-up"):
        gemv_layout(device, "looked-up", 4096, 1, 4096, "intdot")
    with pytest.raises(KeyError, match="no GEMM of f16 on int8 matrices"):
        gemm_layout(device, "f16", 4096, 512, 4096, "coopmat", "s32", MATRIX)
