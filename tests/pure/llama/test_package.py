"""The package as a whole: one revision, sources for every rule, and nothing but facts to depend on."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import vkprobe
from vkprobe.llama import REVISION

ROOT = Path(vkprobe.__file__).parent
MODULES = sorted((ROOT / "llama").glob("*.py"))
ALLOWED = ("vkprobe.records", "vkprobe.cell", "vkprobe.weights", "vkprobe.llama", "vkprobe.requirements")
REQUIREMENTS = {"facts", "evaluate", "load", "model", "promotions"}


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
    """In files of llama.cpp's; ranges run forwards. What is no rule of llama.cpp's is listed here."""
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
