"""Bad input to the measuring verbs: one sentence, exit status 2, no traceback, nothing written."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.pure.commands import Command, refused
from tests.pure.recorded_devices import recorded
from vkprobe import ops
from vkprobe.cli.bench import cells_for
from vkprobe.cli.main import VERBS, cli
from vkprobe.errors import UsageError
from vkprobe.ops.plan import plans
from vkprobe.weights import WEIGHT_TYPES


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("gemm --shape 64,64", "--shape 64,64: expected M,N,K"),
        ("gemm --shape 64,64,sixty", "expected M,N,K, three whole numbers"),
        ("gemm --shape 64,-1,64", "expected M,N,K"),
        ("gemm --shape 64,64,0", "M, N and K are 1 or more"),
        ("gemm --shape 65536,1,65536", "beyond the kernels' 32-bit indices"),
        ("gemm --type q4_0 --shape 64,64,48", "gemm takes q4_0 in blocks of 32 elements; K must be a multiple of 32"),
        ("gemv --type f16,q8_0 --shape 64,1,33", "gemv takes q8_0 in blocks of 32"),
        ("gemv --shape 64,9,64", "gemv has N = 1 to 8; use gemm for N = 9"),
        ("dequant --shape 64,2,64", "dequant has N = 1"),
        ("dequant --shape 64,1,33", "K must be a multiple of 8"),
        ("gemm --type q9_9", "--type q9_9: not known; there is f32, f16, bf16, q4_0"),
        ("dequant --type f16", "--type f16: not known; there is bf16, q4_0"),
        ("gemm --path coopmat3", "--path coopmat3: not known"),
        ("gemv --path coopmat", "--path coopmat: not known; there is scalar-f32"),
        ("gemm --accumulator u32", "--accumulator u32: not known; there is f16, f32, s32"),
        ("gemm --coopmat --tuple 16x16", "--tuple 16x16: expected a shape as 16x8x16"),
        ("gemm --coopmat --tuple 0x8x8", "--tuple 0x8x8: expected a shape"),
        (
            "gemm --coopmat --type f32 --accumulator f16",
            "gemm --type f32 --path coopmat --accumulator f16: there is no kernel for these together",
        ),
        ("gemm --path scalar-f32 --accumulator f16", "no kernel for these together"),
        ("gemm --driver nosuch -o new.jsonl", "nosuch"),
        ("gemv --null nosuch:chip -o new.jsonl", "nosuch"),
        ("run --driver nosuch -o new.jsonl", "nosuch"),
        ("run --drivers absent.toml -o new.jsonl", "absent.toml"),
    ],
)
def test_bad_arguments_are_a_sentence(argv: str, says: str, command: Command, tmp_path: Path) -> None:
    """The sentence names the argument, the fault and the valid values; no file appears."""
    assert says in refused(command(*argv.split()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["gemm", "run"])
def test_a_file_of_something_else_is_left_alone(verb: str, command: Command, tmp_path: Path) -> None:
    """-o names the wrong file: nothing is appended to it."""
    foreign = tmp_path / "notes.txt"
    foreign.write_text("these are my notes\n")
    assert "notes.txt" in refused(command(verb, "-o", "notes.txt"))
    assert foreign.read_text() == "these are my notes\n"
    (tmp_path / "foreign.json").write_text('{"name": "not a record"}\n')
    assert "without `kind`" in refused(command(verb, "-o", "foreign.json"))
    assert (tmp_path / "foreign.json").read_text() == '{"name": "not a record"}\n'


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["gemm", "-o", "folder"], "is a directory"),
        (["gemm", "-o", "absent/new.jsonl"], "can't be written: No such file or directory"),
        (["gemm", "--time-limit", "0"], "--time-limit"),
        (["gemm", "--time-limit", "soon"], "--time-limit"),
        (["gemm", "--tier", "tuned"], "--tier"),
        (["gemm", "--format", "xml"], "--format"),
        (["gemm", "--nosuch"], "--nosuch"),
        (["matmul"], "matmul"),
    ],
)
def test_what_click_refuses_is_reported_too(argv: list[str], says: str, command: Command, tmp_path: Path) -> None:
    """Exit status 2, no traceback, nothing on stdout."""
    (tmp_path / "folder").mkdir()
    ended = command(*argv)
    assert (ended.status, ended.stdout) == (2, "")
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("text", ["256,128,64", "256x128x64", " 256, 128 ,64"])
def test_shapes_are_read_as_people_write_them(text: str) -> None:
    """Commas and an x are both accepted."""
    assert ops.find("gemm").axes_of(text) == {"m": 256, "n": 128, "k": 64}


@pytest.mark.parametrize("text", ["", "1", "1,2,3,4", "1.5,2,3", "1e3,1,1", "0x10,1,1"])
def test_what_is_no_shape_is_refused(text: str) -> None:
    """The error shows an example of a shape."""
    with pytest.raises(UsageError, match="--shape"):
        ops.find("gemm").axes_of(text)


def test_a_repeated_shape_is_measured_once() -> None:
    """It may be written in two ways."""
    once, twice = (
        cells_for("gemm", types=["q4_0"], paths=[], shapes=shapes, hot=False)(recorded("nvk-172"))
        for shapes in (["64,64,64"], ["64,64,64", "64x64x64"])
    )
    assert once == twice
    assert len(set(twice)) == len(twice) > 5


@pytest.mark.parametrize("op", ["gemm", "gemv", "dequant"])
def test_a_type_whose_block_does_not_divide_k_has_a_row(op: str) -> None:
    """Without --type it is unsupported, with the block as the reason, and all other types run."""
    device = recorded("nvk-172")
    rows = plans(cells_for(op, types=[], paths=["scalar-f32"], shapes=["64,1,96"], hot=False)(device), device)
    ragged = {row.cell.variant.type: row.reason or "" for row in rows if row.reason}
    assert set(ragged) == {name for name, row in WEIGHT_TYPES.items() if 96 % row.elements}
    assert all("K = 96 is not a multiple of" in reason for reason in ragged.values())


@pytest.mark.parametrize("verb", ["dequant", "gemm", "gemv"])
def test_help_names_what_the_verb_has(verb: str) -> None:
    """Types and paths of this op only; -h is for every verb."""
    text = CliRunner().invoke(cli, [verb, "--help"]).output
    assert "--shape" in text
    assert ("coopmat" in text) == (verb == "gemm")
    assert (" f16" in text.partition("--type")[2].partition("--path")[0]) == (verb != "dequant")


_HELP = """
import json
from click.testing import CliRunner
from vkprobe.cli.main import VERBS, cli
replies = {(verb, option): CliRunner().invoke(cli, [verb, option]) for verb in VERBS for option in ("-h", "--help")}
print(json.dumps({" ".join(key): [reply.exit_code, reply.output] for key, reply in replies.items()}))
"""


@cache
def helps() -> dict[str, list[Any]]:
    """Exit status and text of `VERB -h` and `VERB --help`, from a process of their own: click keeps a command's help option."""
    done = subprocess.run([sys.executable, "-c", _HELP], capture_output=True, text=True, timeout=600, check=True)
    replies: dict[str, list[Any]] = json.loads(done.stdout)
    return replies


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(verb: str) -> None:
    """-h and --help are the same, and begin with the line that the overview shows."""
    (status, short), long = (helps()[f"{verb} {option}"] for option in ("-h", "--help"))
    assert [status, short] == long
    assert status == 0
    assert " ".join(VERBS[verb][1].split()) in " ".join(short.split())
