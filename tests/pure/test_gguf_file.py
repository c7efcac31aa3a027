"""GGUF files as workloads: whole, split, broken anywhere, and what is none."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Ggml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pure.gguf_samples import DENSE, EXPERT_NUMBERS, EXPERTS, T, published, workload, write_gguf, write_hollow_gguf
from vkprobe.cli.workload import skipped_note
from vkprobe.errors import UsageError
from vkprobe.workloads import model
from vkprobe.workloads.gguf_file import read


def refused(path: Path) -> str:
    """The sentence that a file is refused with, which begins with its path and is one line."""
    with pytest.raises(UsageError) as error:
        read(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", ["qwen3-8b", "llama-3.1-8b", "qwen3-30b-a3b", "gpt-oss-20b"])
def test_a_file_of_a_known_model_gives_that_model(name: str, tmp_path: Path) -> None:
    """The data by name and what a file with these tensors is read as are the same workloads."""
    tensors, arch, numbers = published(name)
    contents = read(write_hollow_gguf(tmp_path / f"{name}.gguf", tensors, arch=arch, numbers=numbers))
    assert set(contents.workloads) == set(model(name).workloads)
    assert (contents.name, contents.title, contents.skipped) == (name, name, ())


def test_a_dense_file_is_its_matrices(tmp_path: Path) -> None:
    """Norms, biases, embeddings and frequencies are left out; the last ffn and the output have one row."""
    contents = read(write_gguf(tmp_path / "small.gguf", DENSE, numbers={"block_count": 3}))
    assert (contents.name, contents.title, contents.source, contents.skipped) == ("small", "A model", str(tmp_path / "small.gguf"), ())
    assert {(w.role, w.type, w.m, w.k, w.count, w.n_pp) for w in contents.workloads} == {
        ("lm_head", "q8_0", 96, 64, 1, 1),
        ("attn_qkv", "q4_0", 128, 64, 3, 512),
        ("attn_output", "q4_0", 64, 64, 3, 512),
        ("ffn_up", "q8_0", 160, 64, 2, 512),
        ("ffn_up", "q8_0", 160, 64, 1, 1),
        ("ffn_down", "f32", 64, 160, 2, 512),
        ("ffn_down", "f32", 64, 160, 1, 1),
    }


def test_tied_embeddings_are_the_output(tmp_path: Path) -> None:
    """Without output.weight llama.cpp multiplies by the embeddings."""
    tied = [tensor for tensor in DENSE if tensor.name != "output.weight"]
    head = workload(read(write_gguf(tmp_path / "tied.gguf", tied)), "lm_head", 1)
    assert (head.type, head.m, head.k, head.count) == ("q4_0", 96, 64, 1)


def test_experts_take_their_numbers_from_tensor_and_metadata(tmp_path: Path) -> None:
    """The tensor's third dimension is the number of experts, expert_used_count the number in use."""
    contents = read(write_gguf(tmp_path / "moe.gguf", EXPERTS, arch="qwen3moe", numbers=EXPERT_NUMBERS))
    up = workload(contents, "ffn_gate_up_exps")
    assert (up.m, up.k, up.count, up.experts, up.used) == (192, 64, 1, 8, 2)
    assert up.products(512) == (128, 8)
    assert workload(contents, "ffn_gate_inp").m == 8
    assert not contents.skipped


def test_experts_used_may_differ_by_layer(tmp_path: Path) -> None:
    """A list has one number a layer."""
    path = tmp_path / "listed.gguf"
    writer = gguf.GGUFWriter(path, "gpt-oss")
    writer.add_array("gpt-oss.expert_used_count", [2, 3])
    for tensor in EXPERTS:
        stored = tensor.shape if tensor.type == Ggml.F32 else gguf.quant_shape_to_byte_shape(tensor.shape, tensor.type)
        kind: Any = np.float32 if tensor.type == Ggml.F32 else np.uint8
        writer.add_tensor(tensor.name, np.zeros(stored, kind), raw_dtype=tensor.type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert {w.used: w.count for w in read(path).workloads if w.role == "ffn_down_exps"} == {2: 1, 3: 1}


@pytest.mark.parametrize(("used", "value"), [(None, "missing"), (0, "0"), (9, "9")])
def test_experts_without_a_number_used_are_refused(used: int | None, value: str, tmp_path: Path) -> None:
    """Their share can't be computed without it."""
    numbers = {"block_count": 2} if used is None else {"expert_used_count": used}
    path = write_gguf(tmp_path / "moe.gguf", EXPERTS, arch="qwen3moe", numbers=numbers)
    assert refused(path).startswith(f"blk.0.ffn_gate_up_exps.weight has 8 experts, but expert_used_count is {value}")


def test_layers_that_predict_further_tokens_are_skipped(tmp_path: Path) -> None:
    """They don't run in pp and tg, and the last layer is the one before them."""
    contents = read(write_gguf(tmp_path / "nextn.gguf", DENSE, numbers={"block_count": 3, "nextn_predict_layers": 1}))
    assert workload(contents, "attn_qkv").count == 2
    assert workload(contents, "ffn_up").count == workload(contents, "ffn_up", 1).count == 1
    assert {s.role for s in contents.skipped} == {"attn_qkv", "attn_output", "ffn_up", "ffn_down"}
    assert {s.reason for s in contents.skipped} == {"in a layer that predicts further tokens"}


def test_what_there_are_no_kernels_for_is_listed_apart(tmp_path: Path) -> None:
    """Types, dimensions and names that no kernel stands for; the rest is measured."""
    odd = [
        T("blk.0.attn_k.weight", Ggml.IQ3_S, (64, 256)),
        T("blk.1.attn_k.weight", Ggml.IQ3_S, (64, 256)),
        T("blk.0.attn_kv_b.weight", Ggml.F32, (2, 64, 64)),
        T("blk.0.enigma.weight", Ggml.F32, (64, 64)),
        T("v.blk.0.attn_q.weight", Ggml.F32, (64, 64)),
        T("blk.0.ssm_conv1d.weight", Ggml.F32, (64, 4)),
    ]
    contents = read(write_gguf(tmp_path / "odd.gguf", [*DENSE, *odd]))
    assert {(s.role, s.type, s.count, s.reason) for s in contents.skipped} == {
        ("attn_k", "iq3_s", 2, "no kernels for iq3_s"),
        ("attn_kv_b", "f32", 1, "of 3 dimensions"),
        ("enigma", "f32", 1, "not known as a matrix that is multiplied by"),
        ("v.blk.0.attn_q", "f32", 1, "outside a decoder's layers"),
    }
    assert "attn_k" not in {w.role for w in contents.workloads}
    note = skipped_note(contents)
    assert note is not None
    assert note.startswith("odd: not measured: 2 no kernels for iq3_s (attn_k); ")


def test_a_file_without_a_usable_matrix_is_refused_with_reasons(tmp_path: Path) -> None:
    """All of a type without kernels, and no language model at all."""
    path = write_gguf(tmp_path / "iq3.gguf", [T(f"blk.{i}.attn_q.weight", Ggml.IQ3_S, (64, 256)) for i in range(4)])
    assert refused(path) == "none of its matrices can be measured: 4 no kernels for iq3_s"
    path = write_gguf(tmp_path / "norms.gguf", [T("output_norm.weight", Ggml.F32, (64,))], arch="clip")
    assert refused(path) == "no tensor that is multiplied by (clip); give a language model"


def test_any_part_of_a_split_file_gives_the_whole(tmp_path: Path) -> None:
    """Metadata are in the first part, tensors in all."""
    whole = read(write_gguf(tmp_path / "whole.gguf", EXPERTS, arch="qwen3moe", numbers=EXPERT_NUMBERS))
    write_gguf(tmp_path / "cut.gguf", EXPERTS, arch="qwen3moe", numbers=EXPERT_NUMBERS, split_max_tensors=4)
    parts = sorted(tmp_path.glob("cut-*.gguf"))
    assert len(parts) == 3
    for part in parts:
        contents = read(part)
        assert (contents.name, contents.source, contents.workloads) == ("cut", str(part), whole.workloads)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    """The error names the part and the remedy; if the file asked for is itself absent, it is simply missing."""
    write_gguf(tmp_path / "cut.gguf", EXPERTS, arch="qwen3moe", numbers=EXPERT_NUMBERS, split_max_tensors=4)
    (tmp_path / "cut-00002-of-00003.gguf").unlink()
    assert "beside it there is no cut-00002-of-00003.gguf: put all parts" in refused(tmp_path / "cut-00001-of-00003.gguf")
    assert refused(tmp_path / "cut-00002-of-00003.gguf") == "can't be read: No such file or directory"


def test_a_broken_part_is_the_one_that_is_named(tmp_path: Path) -> None:
    """The error doesn't name the part that was given."""
    write_gguf(tmp_path / "cut.gguf", EXPERTS, arch="qwen3moe", numbers=EXPERT_NUMBERS, split_max_tensors=4)
    (tmp_path / "cut-00003-of-00003.gguf").write_bytes(b"GGUF")
    with pytest.raises(UsageError, match=r"cut-00003-of-00003\.gguf: truncated: 4 B"):
        read(tmp_path / "cut-00001-of-00003.gguf")


def test_parts_of_different_models_are_refused(tmp_path: Path) -> None:
    """A part under another's name, a renamed part, and parts with too few or equal tensors."""
    write_gguf(tmp_path / "cut.gguf", EXPERTS, arch="qwen3moe", numbers=EXPERT_NUMBERS, split_max_tensors=4)
    first, second, third = sorted(tmp_path.glob("cut-*.gguf"))
    alone = tmp_path / "alone.gguf"
    alone.write_bytes(second.read_bytes())
    assert refused(alone).startswith("part 2 of 3, which its name doesn't say")
    kept = second.read_bytes()
    second.write_bytes(third.read_bytes())
    with pytest.raises(UsageError, match="part 3 of 3, which its name doesn't say"):
        read(first)
    second.write_bytes(kept)
    write_gguf(tmp_path / "own.gguf", EXPERTS[:9], arch="qwen3moe", numbers=EXPERT_NUMBERS, split_max_tensors=4)
    third.write_bytes((tmp_path / "own-00003-of-00003.gguf").read_bytes())
    assert refused(first).startswith("its parts don't belong together; 12 tensors are announced, 9 there")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"not a model at all, but a text", "not a GGUF file: it doesn't begin with `GGUF`"),
        (b"PK\x03\x04" + bytes(60), "not a GGUF file"),
        (b"tjgg" + bytes(60), "a model file from before GGUF"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS, not the model"),
        (b"GG", "truncated: 2 B"),
        (b"GGUF\x03\x00\x00\x00", "truncated: 8 B"),
        (struct.pack("<4sIQQ", b"GGUF", 1, 0, 0), "GGUF version 1, and vkprobe reads 2 and 3"),
        (struct.pack("<4sIQQ", b"GGUF", 9, 0, 0), "GGUF version 9"),
        (struct.pack(">4sIQQ", b"GGUF", 3, 1, 1) + bytes(60), "a big-endian GGUF file"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 1 << 60, 1), "truncated or corrupt: 1152921504606846976 tensors"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 0), "no tensor that is multiplied by (no architecture named)"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 1, 0) + bytes(24), "truncated or corrupt"),
    ],
)
def test_what_is_no_gguf_file_is_reported_for_what_it_is(content: bytes, says: str, tmp_path: Path) -> None:
    """A sentence with the path, what it is, and what to do."""
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    assert refused(path).startswith(says)


def test_a_big_endian_file_is_refused(tmp_path: Path) -> None:
    """One that the gguf package wrote."""
    assert "big-endian" in refused(write_gguf(tmp_path / "big.gguf", DENSE, endianess=gguf.GGUFEndian.BIG))


def test_files_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    """Nothing there, a folder, a pipe (which must not be waited on)."""
    assert refused(tmp_path / "none.gguf") == "can't be read: No such file or directory"
    assert refused(tmp_path) == "not a file; give the .gguf file itself"
    os.mkfifo(tmp_path / "pipe.gguf")
    assert refused(tmp_path / "pipe.gguf") == "not a file; give the .gguf file itself"


def test_a_file_that_ends_early_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    """Up to the last byte of the last tensor; padding behind it may be missing."""
    whole = write_gguf(tmp_path / "whole.gguf", EXPERTS, arch="qwen3moe", numbers=EXPERT_NUMBERS)
    expected, content = read(whole), whole.read_bytes()
    header = gguf.GGUFReader(whole).data_offset
    last = max(t.data_offset + t.n_bytes for t in gguf.GGUFReader(whole).tensors)
    cut = tmp_path / "cut.gguf"
    for length in (*range(0, header, 5), *range(header, last, 997), last - 1):
        cut.write_bytes(content[:length])
        assert refused(cut)
    for length in range(last, len(content) + 1):
        cut.write_bytes(content[:length])
        assert read(cut).workloads == expected.workloads


def test_a_type_that_the_package_does_not_know_asks_for_a_newer_one(tmp_path: Path) -> None:
    """Types are added faster than packages are updated."""
    path = write_gguf(tmp_path / "new.gguf", [T("blk.0.attn_q.weight", Ggml.Q8_0, (64, 64))])
    content = path.read_bytes()
    at = content.index(b"blk.0.attn_q.weight") + len("blk.0.attn_q.weight") + 4 + 16
    path.write_bytes(content[:at] + struct.pack("<I", 999) + content[at + 4 :])
    assert "a tensor's type is newer than gguf" in refused(path)
    assert "pip install -U gguf" in refused(path)


def test_a_list_that_announces_more_than_the_file_is_refused_at_once(tmp_path: Path) -> None:
    """A corrupt length is not followed for 2**60 steps."""
    path = write_gguf(tmp_path / "long.gguf", DENSE)
    content = path.read_bytes()
    for key in (b"tokenizer.ggml.tokens", b"tokenizer.ggml.scores"):
        at = content.index(key) + len(key) + 8
        path.write_bytes(content[:at] + struct.pack("<Q", 1 << 60) + content[at + 8 :])
        assert refused(path).startswith("truncated or corrupt (it ends ")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file's bytes, to be broken."""
    path = tmp_path_factory.mktemp("gguf") / "base.gguf"
    return write_gguf(path, EXPERTS, arch="qwen3moe", numbers=EXPERT_NUMBERS).read_bytes()[:2000]


@given(changes=st.lists(st.tuples(st.integers(0, 1999), st.one_of(st.integers(0, 255), st.just(255))), min_size=1, max_size=6))
@settings(max_examples=300, deadline=None)
def test_corrupt_bytes_end_in_a_model_or_a_sentence(base: bytes, changes: list[tuple[int, int]]) -> None:
    """Never in another error, nor in a loop; data behind the header is a hole."""
    broken = bytearray(base)
    for at, byte in changes:
        broken[at % len(broken)] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "broken.gguf"
        path.write_bytes(broken)
        os.truncate(path, 1 << 20)
        try:
            text = read(path).title
        except UsageError as error:
            text = str(error)
    assert text
    assert text.isprintable()


def test_weights_are_not_read(tmp_path: Path) -> None:
    """Reading a file of 19 GB takes no more memory than the package itself."""
    tensors, arch, numbers = published("qwen3-30b-a3b")
    path = write_hollow_gguf(tmp_path / "large.gguf", tensors, arch=arch, numbers=numbers)
    assert path.stat().st_size > 18e9
    code = (
        "import resource, sys; from pathlib import Path; from vkprobe.workloads.gguf_file import read;"
        "contents = read(Path(sys.argv[1])); print(len(contents.workloads), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=600, check=True)
    workloads, kilobytes = (int(word) for word in done.stdout.split())
    assert workloads == len(model("qwen3-30b-a3b").workloads)
    assert kilobytes < 400_000


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that isn't GGUF is recognised without the package."""
    path = write_gguf(tmp_path / "small.gguf", DENSE)
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert refused(path) == "to read it takes the gguf package, which isn't installed: pip install 'vkprobe[gguf]'"
    path.write_bytes(b"something else")
    assert "not a GGUF file" in refused(path)
