"""The structure that the design asks for: ops are named in their own rooms only, and plans fill in all that kernels declare."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import vkprobe
from tests.pure.recorded_devices import RECORDED, full_plans, recorded
from vkprobe import ops
from vkprobe.kernels import kernels
from vkprobe.ops.plan import Plan, plans
from vkprobe.program import Dispatch
from vkprobe.session.selection import run_cells

PACKAGE = Path(vkprobe.__file__).parent
ROOMS_OF_OPS = ("ops", "cli")
"""Packages that may name an op: its own room, and the verb table."""
NAMES = frozenset(op.name for op in ops.every())
DEVICES = sorted(path.stem.removeprefix("caps-") for path in RECORDED.glob("caps-*.jsonl"))


def op_names(source: str) -> Iterator[tuple[int, str]]:
    """Line and value of each string literal that is an op's name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in NAMES:
            yield node.lineno, node.value


@pytest.mark.parametrize("source", ["kind == 'gemm'", "OPS = ['copy', 1]", "match x:\n    case 'peak': pass", "Literal['gemv']"])
def test_the_walk_finds_an_op_s_name(source: str) -> None:
    """Compared, listed, matched or in a type."""
    assert len(list(op_names(source))) == 1
    assert not list(op_names("'''gemm is described here'''\nx = 'gemms'"))


def test_only_ops_and_verbs_name_an_op() -> None:
    """Every other module asks the op itself."""
    modules = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in ROOMS_OF_OPS]
    assert len(modules) > 100
    mentions = [f"{path.relative_to(PACKAGE)}:{line}: {name!r}" for path in modules for line, name in op_names(path.read_text())]
    assert mentions == []


PARTICIPLES = frozenset({"told", "found", "made", "known"})
ROOT = PACKAGE.parent


def names_given(tree: ast.AST) -> Iterator[str]:
    """Every name that is assigned, defined or taken as an argument."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name


def test_names_say_what_a_thing_is() -> None:
    """None is a bare participle, which would say only where the thing came from."""
    modules = [path for folder in ("vkprobe", "tools", "tests", "examples") for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 300
    bare = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules
        for name in names_given(ast.parse(path.read_text()))
        if name.strip("_").lower() in PARTICIPLES
    ]
    assert bare == []
    assert set(names_given(ast.parse("def f(told): found = 1"))) == {"f", "told", "found"}


@cache
def every_plan(name: str) -> list[Plan]:
    """All plans of a recorded device: the main job's in full, and those that are only compiled."""
    return [*plans(run_cells(recorded(name), full=True), recorded(name)), *full_plans(name)]


@pytest.mark.parametrize("name", DEVICES)
def test_plans_fill_in_what_their_kernels_declare(name: str) -> None:
    """Exactly the constants, exactly the push words, and a buffer of the program for each binding."""
    planned = every_plan(name)
    assert len(planned) > 200
    for plan in planned:
        buffers = {buffer.name for buffer in plan.program.buffers}
        assert len(buffers) == len(plan.program.buffers)
        for stage in plan.program.stages:
            if not isinstance(stage, Dispatch):
                assert {stage.source, stage.target} <= buffers
                continue
            kernel = kernels()[stage.kernel]
            where = f"{plan.words} on {name}: {kernel.name}"
            assert set(stage.constants) == set(kernel.constants), where
            assert len(stage.push) == len(kernel.push), where
            assert len(stage.bindings) >= len(kernel.bindings), where
            assert set(stage.bindings) <= buffers, where
        assert plan.program.first is None or plan.program.first.kernel == plan.kernel.name


@pytest.mark.parametrize("name", DEVICES)
def test_a_plan_s_output_is_written(name: str) -> None:
    """The last stage binds the output, so that what is checked is what was computed."""
    for plan in every_plan(name):
        last = plan.program.stages[-1]
        written = last.bindings if isinstance(last, Dispatch) else (last.target,)
        assert plan.program.output.name in written, f"{plan.words} on {name}"


_IMPORTS = """
import importlib, pkgutil, sys
import vkprobe.ops
for module in pkgutil.walk_packages(vkprobe.ops.__path__, "vkprobe.ops."):
    if not module.name.endswith("reference"):
        importlib.import_module(module.name)
        print(module.name)
print("heavy:", [name for name in sys.modules if name in ("numpy", "vulkan") or name.startswith(("vkprobe.worker", "vkprobe.formats"))])
"""


def test_ops_are_light() -> None:
    """Only references load numpy and what decodes weights; nothing but the worker imports references."""
    done = subprocess.run([sys.executable, "-c", _IMPORTS], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()
    assert {f"vkprobe.ops.{name}.plan" for name in NAMES} <= set(modules)
    assert modules[-1] == "heavy: []"
