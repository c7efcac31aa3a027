"""A GGUF file's own tensors as workloads: names, shapes and types from its header, never the weights.

The `gguf` package maps the file and follows the header; nothing touches the pages of the weights. It is imported when a file is read.
Source: gguf 0.19, gguf_reader.py; llama.cpp of llama-cpp-python 0.3.36, src/llama-model-loader.cpp (split files).
"""

from __future__ import annotations

import re
import struct
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vkprobe.errors import UsageError
from vkprobe.workloads.model import Model, Skipped
from vkprobe.workloads.tensors import Metadata, Tensor, workloads_of

if TYPE_CHECKING:
    from gguf import GGUFReader

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.ASCII)
_HEADER = struct.Struct("<4sIQQ")
_LENGTH = struct.Struct("<Q")
_TENSOR_BYTES, _FIELD_BYTES = 24, 13  # what an entry of the header takes at least
_MOST_ENTRIES = 1 << 20  # far above any model's
_OLD_MAGICS = (b"lmgg", b"fmgg", b"tjgg")
_WANTED = re.compile(
    r"general\.(architecture|name)|split\.(no|count|tensors\.count)|.+\.(block_count|nextn_predict_layers|expert_used_count)"
)
_CORRUPT = (ArithmeticError, LookupError, EOFError, ValueError, TypeError, RecursionError, MemoryError)
"""What the package raises for a header that makes no sense, most of it by accident."""
_AGAIN = "download or convert it again"


class _CutShortError(EOFError):
    """The file ends before what it announces; its text says where."""


def read(path: Path) -> Model:
    """The workloads of a GGUF file; of any part of a split one, those of all its parts.

    Raises:
        UsageError: it or one of its parts is not there or not a GGUF file, none of its matrices has kernels, or the gguf
            package is missing.
    """
    fields: dict[str, Any] = {}
    tensors: list[Tensor] = []
    parts = _parts(path)
    for number, part in enumerate(parts):
        _check_header(part)
        part_fields, listed = _read(part)
        _check_part(part, part_fields, number, len(parts))
        fields = {**part_fields, **fields}
        tensors += listed
    _check_whole(path, fields, tensors)
    architecture = _text(fields.get("general.architecture"))
    metadata = Metadata(
        architecture=architecture,
        layers=_number(fields.get(f"{architecture}.block_count")),
        nextn_layers=_number(fields.get(f"{architecture}.nextn_predict_layers")) or 0,
        experts_used=_numbers(fields.get(f"{architecture}.expert_used_count")),
    )
    try:
        workloads, skipped = workloads_of(tensors, metadata)
    except UsageError as error:
        raise UsageError(f"{path}: {error}; {_AGAIN}") from None
    if not workloads:
        raise UsageError(f"{path}: {_none_usable(skipped, architecture)}")
    part_name = _PART.fullmatch(path.name)
    name = part_name[1] if part_name else path.name.removesuffix(".gguf")
    return Model(name=name, title=_text(fields.get("general.name")) or name, source=str(path), workloads=workloads, skipped=skipped)


def _parts(path: Path) -> list[Path]:
    """All parts of a split file, in order; a file that isn't split is its own part.

    Raises:
        UsageError: some aren't there.
    """
    named = _PART.fullmatch(path.name)
    if named is None or not path.exists():
        return [path]
    parts = [path.with_name(f"{named[1]}-{i:05}-of-{named[3]}.gguf") for i in range(1, int(named[3]) + 1)]
    missing = [part.name for part in parts if not part.exists()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise UsageError(
            f"{path}: one part of a split file; beside it there is no {', '.join(missing[:3])}{more}: put all parts into one folder"
        )
    return parts


def _check_header(path: Path) -> None:
    """Check that the file is a little-endian GGUF file of a version in use.

    Raises:
        UsageError: it is none, or can't be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: not a file; give the .gguf file itself")
        with open(path, "rb") as file:
            head = file.read(_HEADER.size)
        size = path.stat().st_size
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from None
    if not head:
        raise UsageError(f"{path}: empty; {_AGAIN}")
    if head.startswith(b"version https://git-lfs"):
        raise UsageError(f"{path}: a pointer of Git LFS, not the model; fetch it with `git lfs pull`")
    if head[:4] in _OLD_MAGICS:
        raise UsageError(f"{path}: a model file from before GGUF; convert it with llama.cpp's convert_llama_ggml_to_gguf.py")
    if not b"GGUF".startswith(head[:4]):
        raise UsageError(f"{path}: not a GGUF file: it doesn't begin with `GGUF`; give a model in that format")
    if len(head) < _HEADER.size:
        raise UsageError(f"{path}: truncated: {len(head)} B; {_AGAIN}")
    _, number, tensors, fields = _HEADER.unpack(head)
    if number & 0xFFFF == 0:
        raise UsageError(f"{path}: a big-endian GGUF file; convert a copy with `gguf-convert-endian COPY little`")
    if number not in (2, 3):
        raise UsageError(f"{path}: GGUF version {number}, and vkprobe reads 2 and 3; {_AGAIN}")
    if max(tensors, fields) > _MOST_ENTRIES or tensors * _TENSOR_BYTES + fields * _FIELD_BYTES > size:
        raise UsageError(f"{path}: truncated or corrupt: {tensors} tensors and {fields} metadata fields in {size} B; {_AGAIN}")


def _read(path: Path) -> tuple[dict[str, Any], list[Tensor]]:
    """The wanted metadata and all tensors of one file.

    Raises:
        UsageError: the gguf package is missing, or can't make sense of the file.
    """
    try:
        import numpy as np

        reader_class = _reader_class()
    except ImportError as error:
        state = "isn't installed" if isinstance(error, ModuleNotFoundError) and error.name == "gguf" else f"can't be imported ({error})"
        raise UsageError(f"{path}: to read it takes the gguf package, which {state}: pip install 'vkprobe[gguf]'") from None
    try:
        with np.errstate(all="ignore"):  # corrupt offsets overflow on their way to an error
            reader = reader_class(path)
            fields = {name: _value(field) for name, field in reader.fields.items() if _WANTED.fullmatch(name)}
            tensors = [Tensor(_printable(t.name), t.tensor_type.name.lower(), tuple(int(n) for n in t.shape)) for t in reader.tensors]
    except _CORRUPT as error:
        if _is_unknown_type(error):
            cause = f"a tensor's type is newer than gguf {version('gguf')}, or the file is corrupt: pip install -U gguf, or {_AGAIN}"
            raise UsageError(f"{path}: {cause}") from None
        where = str(error) if isinstance(error, _CutShortError) else "its header makes no sense"
        raise UsageError(f"{path}: truncated or corrupt ({where}); {_AGAIN}") from None
    except AttributeError:  # gguf 0.10 beside numpy 2
        raise UsageError(f"{path}: gguf {version('gguf')} fails on it: pip install 'vkprobe[gguf]'") from None
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror or error}") from None
    for tensor in tensors:
        if not all(tensor.shape):
            raise UsageError(f"{path}: corrupt: {tensor.name} has a dimension of 0; {_AGAIN}")
    return fields, tensors


def _reader_class() -> type[GGUFReader]:
    """GGUFReader with bounds on its reads, and without an object for each token of the vocabulary.

    A release of gguf whose reader has other steps reads the same, without the bounds and 150,000 tokens in 16 s, not 0.2 s.
    """
    import numpy as np
    from gguf import GGUFReader, GGUFValueType

    class Reader(GGUFReader):
        def _get(self, offset: int, dtype: Any, count: int = 1, *rest: Any, **named: Any) -> Any:
            if int(offset) + int(count) * np.dtype(dtype).itemsize > len(self.data):
                raise _CutShortError("it ends before what its header announces")
            return super()._get(offset, dtype, count, *rest, **named)

        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if raw_type != GGUFValueType.ARRAY:
                return super()._get_field_parts(orig_offs, raw_type)
            kind = GGUFValueType(int(self._get(orig_offs, "<u4")[0]))
            length = int(self._get(orig_offs + 4, "<u8")[0])
            begin = orig_offs + 12
            if kind == GGUFValueType.STRING:
                return 12 + _bytes_of_strings(self.data, begin, length), [], [], [GGUFValueType.ARRAY, kind]
            if kind not in self.gguf_scalar_to_np:
                return super()._get_field_parts(orig_offs, raw_type)
            values = self._get(begin, self.gguf_scalar_to_np[kind], length)
            return 12 + int(values.nbytes), [values], [0], [GGUFValueType.ARRAY, kind]

    return Reader


def _is_unknown_type(error: BaseException) -> bool:
    """Whether Python's enum refused a tensor's type: recognised by the frame that raised, as the message is Python's own to change."""
    from gguf import GGMLQuantizationType

    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_locals.get("cls") is GGMLQuantizationType for frame, _ in frames)


def _bytes_of_strings(data: Any, begin: int, count: int) -> int:
    """B of `count` strings from `begin` on, each after its length."""
    if begin + count * _LENGTH.size > len(data):
        raise _CutShortError("it ends within a list of strings")
    view, at = memoryview(data), begin
    for _ in range(count):
        if at + _LENGTH.size > len(data):
            raise _CutShortError("it ends within a list of strings")
        at += _LENGTH.size + _LENGTH.unpack_from(view, at)[0]
    return at - begin


def _value(field: Any) -> Any:
    """A metadata field's value: text, number, or list of numbers; None for lists of texts."""
    kinds = [kind.name for kind in field.types]
    if kinds == ["STRING"]:
        return str(bytes(field.parts[field.data[0]]), "utf-8")
    if kinds[0] != "ARRAY":
        return field.parts[field.data[0]].tolist()[0]
    return None if "STRING" in kinds else [value for index in field.data for value in field.parts[index].tolist()]


def _text(value: Any) -> str | None:
    return _printable(value) if isinstance(value, str) else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _numbers(value: Any) -> int | Sequence[int] | None:
    if isinstance(value, list) and all(_number(one) is not None for one in value):
        return value
    return _number(value)


def _printable(text: str) -> str:
    """Text of a file on one line, at most 80 characters, nothing in it that steers a terminal."""
    return "".join(c if c.isprintable() else " " for c in text[:80]).strip()


def _check_part(path: Path, fields: dict[str, Any], number: int, count: int) -> None:
    """Raise UsageError where a file is another part than its name says."""
    index, of = _number(fields.get("split.no")), _number(fields.get("split.count"))
    if of is None or of <= 1:
        return
    if of != count or index != number:
        place = "of a split file" if index is None else f"{index + 1} of {of}"
        raise UsageError(
            f"{path}: part {place}, which its name doesn't say; name parts as llama-gguf-split does: MODEL-00001-of-{of:05}.gguf"
        )


def _check_whole(path: Path, fields: dict[str, Any], tensors: Sequence[Tensor]) -> None:
    """Raise UsageError where the parts of a split file don't belong together."""
    total = _number(fields.get("split.tensors.count"))
    if len({tensor.name for tensor in tensors}) < len(tensors) or (total is not None and total != len(tensors)):
        announced = "" if total is None else f"; {total} tensors are announced, {len(tensors)} there"
        raise UsageError(f"{path}: its parts don't belong together{announced}; download or split them again")


def _none_usable(skipped: Sequence[Skipped], architecture: str | None) -> str:
    """Why a file has no workloads."""
    if not skipped:
        return f"no tensor that is multiplied by ({architecture or 'no architecture named'}); give a language model"
    reasons: dict[str, int] = {}
    for entry in skipped:
        reasons[entry.reason] = reasons.get(entry.reason, 0) + entry.count
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return f"none of its matrices can be measured: {counts}"
