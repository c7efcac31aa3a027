"""Workloads by a model's name against published figures, their shapes, and --model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.pure.gguf_samples import DENSE, workload, write_gguf
from vkprobe.cli.workload import model_of, model_option, model_shapes
from vkprobe.errors import UsageError
from vkprobe.weights import WEIGHT_TYPES
from vkprobe.workloads import Model, Workload, model, names, shapes
from vkprobe.workloads.load import FOLDER
from vkprobe.workloads.model import Part

PARTS: tuple[Part, ...] = ("prompt", "token", "matrices")


def all_rows_flop(network: Model) -> int:
    """FLOP of pp512 if the last layer's ffn ran on all rows too."""
    return sum(w.flop(1 if w.role == "lm_head" else 512) for w in network.workloads)


@pytest.mark.parametrize(
    ("name", "all_rows", "last_ffn"),
    [
        ("qwen3-8b", 7.11, 3 * 12288 * 4096),
        ("llama-3.1-8b", 7.15, 3 * 14336 * 4096),
        ("qwen3-30b-a3b", 2.80, 8 * 3 * 768 * 2048 + 128 * 2048),
    ],
)
def test_pp512_leaves_out_the_rows_that_the_last_layer_drops(name: str, all_rows: float, last_ffn: int) -> None:
    """All rows give the figure that follows from the parameters; the last layer's ffn runs on one row, 511 less."""
    network = model(name)
    assert all_rows_flop(network) / 1e12 == pytest.approx(all_rows, abs=0.005)
    assert network.pp_flop == all_rows_flop(network) - 2 * 511 * last_ffn


def test_the_last_layer_of_gpt_oss_runs_on_all_rows() -> None:
    """Its graph picks the rows after the last layer."""
    assert model("gpt-oss-20b").pp_flop == all_rows_flop(model("gpt-oss-20b"))
    assert {w.n_pp for w in model("gpt-oss-20b").workloads if w.role != "lm_head"} == {512}


@pytest.mark.parametrize(
    ("name", "gigabytes"), [("qwen3-8b", 4.67), ("llama-3.1-8b", 4.62), ("qwen3-30b-a3b", 1.92), ("gpt-oss-20b", 2.57)]
)
def test_a_token_reads_so_many_bytes_of_weights(name: str, gigabytes: float) -> None:
    """Only the experts that are used count."""
    assert model(name).tg_bytes / 1e9 == pytest.approx(gigabytes, abs=0.005)


@pytest.mark.parametrize(
    ("name", "parameters", "active"),
    [("qwen3-8b", 8.19, 8.19), ("llama-3.1-8b", 8.03, 8.03), ("qwen3-30b-a3b", 30.5, 3.35), ("gpt-oss-20b", 20.9, 4.19)],
)
def test_matrices_and_embeddings_are_the_published_parameters(name: str, parameters: float, active: float) -> None:
    """Norms and biases are less than the last digit; gpt-oss publishes 3.6 without its embeddings of 0.58."""
    network = model(name)
    embeddings = workload(network, "lm_head", 1).m * workload(network, "lm_head", 1).k
    assert (sum(w.matrices * w.m * w.k for w in network.workloads) + embeddings) / 1e9 == pytest.approx(parameters, abs=0.05)
    assert (sum(w.products(1)[1] * w.m * w.k for w in network.workloads) + embeddings) / 1e9 == pytest.approx(active, abs=0.01)


def test_the_names_are_those_of_the_files() -> None:
    """Every data file is a model that can be asked for, in any case."""
    assert set(names()) == {"qwen3-8b", "llama-3.1-8b", "qwen3-30b-a3b", "gpt-oss-20b"}
    assert all(model(name.upper()).name == name for name in names())


def test_an_unknown_name_is_reported_with_those_that_are_there() -> None:
    """Names, not files."""
    with pytest.raises(UsageError, match=r"no model qwen9; there is gpt-oss-20b, llama-3\.1-8b, qwen3-30b-a3b, qwen3-8b"):
        model("qwen9")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"type": "q9_9"}, "attn_q: no weight type q9_9; there is f32, f16"),
        ({"m": 0}, "$.workloads[0].m: expected a whole number of at least 1, found 0"),
        ({"k": 4100, "type": "q4_0"}, "k = 4100 is not a multiple of q4_0's block of 32"),
        ({"experts": 8}, "`experts` and `used` come together"),
        ({"experts": 8, "used": 9}, "9 of 8 experts used"),
        ({"columns": 3}, "unknown field `columns`"),
        ({"count": "36"}, '$.workloads[0].count: expected a whole number of at least 1, found "36"'),
    ],
)
def test_bad_data_is_reported_with_file_and_place(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    """Whoever adds a model reads this message."""
    data = json.loads((FOLDER / "qwen3-8b.json").read_bytes())
    data["workloads"][0].update(change)
    (tmp_path / "qwen3-8b.json").write_text(json.dumps(data))
    with pytest.raises(UsageError) as error:
        model("qwen3-8b", tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'qwen3-8b.json'}: not a model: ")
    assert says in str(error.value)
    assert "workloads[0]" in str(error.value)


def test_a_file_of_another_name_is_refused(tmp_path: Path) -> None:
    """A copied file whose name was forgotten."""
    (tmp_path / "other.json").write_bytes((FOLDER / "qwen3-8b.json").read_bytes())
    with pytest.raises(UsageError, match="holds the model qwen3-8b"):
        model("other", tmp_path)


# Shapes


def test_gemm_shapes_are_those_of_pp512_heaviest_first() -> None:
    """Gate and up are one shape; lm_head and the last layer's ffn have one row and are none."""
    gemms = shapes(model("qwen3-8b"), "prompt")
    assert [(s.type, s.m, s.n, s.k, s.count) for s in gemms] == [
        ("q4_k", 12288, 512, 4096, 70),
        ("q4_k", 4096, 512, 4096, 72),
        ("q4_k", 4096, 512, 12288, 18),
        ("q6_k", 4096, 512, 12288, 17),
        ("q4_k", 1024, 512, 4096, 54),
        ("q6_k", 1024, 512, 4096, 18),
    ]
    assert gemms[0].roles == ("ffn_gate", "ffn_up")
    assert gemms[1].roles == ("attn_q", "attn_output")
    assert gemms[4].roles == ("attn_k", "attn_v")


def test_gemv_shapes_are_those_of_one_token() -> None:
    """Each matrix once, lm_head with them."""
    gemvs = shapes(model("llama-3.1-8b"), "token")
    assert {s.n for s in gemvs} == {1}
    assert sum(s.count for s in gemvs) == 7 * 32 + 1
    assert [s.count for s in gemvs if s.roles == ("lm_head",)] == [1]


def test_an_experts_product_stands_for_its_part_of_the_op() -> None:
    """32 average rows of each of 128 experts in pp512; the 8 used in tg."""
    experts = model("qwen3-30b-a3b")
    up = {part: next(s for s in shapes(experts, part) if "ffn_up_exps" in s.roles) for part in PARTS}
    assert [(s.m, s.n, s.k) for s in up.values()] == [(768, 32, 2048), (768, 1, 2048), (768, 1, 2048)]
    assert [s.count for s in up.values()] == [2 * 47 * 128, 2 * 48 * 8, 2 * 48 * 128]


def test_average_rows_are_rounded_and_never_none() -> None:
    """2048 rows over 60 experts are 34; 8 rows of one token go to 8 of 128."""
    experts = Workload(role="ffn_up_exps", m=64, k=64, type="f16", count=3, n_pp=512, experts=60, used=4)
    assert experts.products(512) == (34, 180)
    assert experts.products(1) == (1, 12)
    assert experts.flop(512) == 2 * 64 * 64 * 512 * 4 * 3


@pytest.mark.parametrize("name", ["qwen3-8b", "llama-3.1-8b", "qwen3-30b-a3b", "gpt-oss-20b"])
@pytest.mark.parametrize("part", PARTS)
def test_shares_add_up_and_fall(name: str, part: Part) -> None:
    """Distinct shapes, of 1 in all, the largest first, in the same order each time."""
    ranking = shapes(model(name), part)
    assert sum(s.share for s in ranking) == pytest.approx(1)
    assert [s.share for s in ranking] == sorted((s.share for s in ranking), reverse=True)
    assert len({(s.type, s.m, s.n, s.k) for s in ranking}) == len(ranking)


def test_gemm_counts_are_the_flop_of_pp512() -> None:
    """Shapes times counts give the model's FLOP but for the products with one row."""
    network = model("qwen3-8b")
    one_row = sum(w.flop(1) for w in network.workloads if w.n_pp == 1)
    assert sum(2 * s.m * s.n * s.k * s.count for s in shapes(network, "prompt")) == network.pp_flop - one_row


# --model


def test_the_option_hands_over_all_its_values() -> None:
    """It may be repeated, and its help lists the names."""

    @click.command()
    @model_option
    def verb(models: tuple[str, ...]) -> None:
        click.echo(" ".join(models))

    assert CliRunner().invoke(verb, ["--model", "qwen3-8b", "--model", "x.gguf"]).output.strip() == "qwen3-8b x.gguf"
    shown = CliRunner().invoke(verb, ["--help"]).output
    assert all(name in shown for name in names())


def test_a_value_is_a_name_first_and_then_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a model's name doesn't hide the model; a file needs no suffix."""
    monkeypatch.chdir(tmp_path)
    write_gguf(Path("Qwen3-8B"), DENSE)
    write_gguf(Path("weights"), DENSE)
    assert model_of("Qwen3-8B") == model("qwen3-8b")
    assert model_of("weights").name == "weights"
    assert model_of("./Qwen3-8B").name == "Qwen3-8B"


def test_a_value_that_is_neither_lists_what_there_is() -> None:
    """The error lists the names and says that a path works too; a path that doesn't exist is reported as a path."""
    with pytest.raises(UsageError, match=r"--model qwen: not known; there is gpt-oss-20b, .*qwen3-8b, and the path of any \.gguf file"):
        model_of("qwen")
    with pytest.raises(UsageError, match=r"none\.gguf: can't be read: No such file"):
        model_of("none.gguf")


def test_shapes_of_several_models_are_merged_and_filtered_by_type() -> None:
    """Shapes keep the models' order, each once; for a type that no model has, the error lists the types there are."""
    both = [model_of("qwen3-8b"), model_of("llama-3.1-8b")]
    merged = model_shapes("gemv", both)
    assert merged[: len(shapes(both[0], "token"))] == list(shapes(both[0], "token"))
    assert max(Counter((s.type, s.m, s.n, s.k) for s in merged).values()) == 1
    assert {s.type for s in model_shapes("gemm", both, ["q6_k"])} == {"q6_k"}
    with pytest.raises(UsageError, match=r"qwen3-8b llama-3\.1-8b with --type q4_0: nothing to measure; there is only q4_k, q6_k"):
        model_shapes("gemm", both, ["q4_0"])


def test_a_model_without_pp_matrices_says_so(tmp_path: Path) -> None:
    """It has only an output, so nothing for gemm."""
    network = model_of(str(write_gguf(tmp_path / "head.gguf", DENSE[:2])))
    assert len(model_shapes("gemv", [network])) == 1
    with pytest.raises(UsageError, match="gemm --model head: nothing to measure; there is no shape at all"):
        model_shapes("gemm", [network])


def test_importing_workloads_is_light() -> None:
    """Before a file is read, neither gguf nor numpy is imported."""
    code = (
        "import sys; from vkprobe.cli.workload import model_of; from vkprobe.workloads import model, shapes;"
        "shapes(model_of('qwen3-8b'), 'prompt'); print([name for name in ('gguf', 'numpy', 'vulkan') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.strip() == "[]"


def test_every_type_of_the_models_is_one_of_vkprobe() -> None:
    """Their blocks are in one table."""
    assert {w.type for name in names() for w in model(name).workloads} <= set(WEIGHT_TYPES)
