"""Sentences about files that can't be decoded: ours, with the place, and in step with what the decoder takes."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Union

import msgspec
import pytest

from tests.pure.sample_records import result
from vkprobe.decoding import SyntaxFault, json_fault, mismatch, syntax_fault
from vkprobe.records import AnyRecord, encode

WHOLE = b'{"a": [1.5e-3, -2, true, false, null], "b\\u00e9": "x\\"y\\n", "c": {"d": []}}'


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    """A field of every shape."""

    m: Annotated[int, msgspec.Meta(ge=1)]
    kind: Literal["a", "b"] = "a"
    pairs: dict[str, list[Union[int, str]]] = {}
    two: tuple[int, float] = (1, 1.0)


class Outer(msgspec.Struct):
    """A list of them."""

    inner: list[Inner]
    maybe: Inner | None = None


@pytest.mark.parametrize("length", range(1, len(WHOLE)))
def test_every_beginning_of_a_document_is_cut_short(length: int) -> None:
    """Within strings, escapes, literals and numbers too."""
    assert syntax_fault(WHOLE[:length]) == SyntaxFault(1, length + 1, True)


@pytest.mark.parametrize("text", [b"{a}", b"[1 2]", b"[NaN]", b'{"a" 1}', b'["\\x"]', b"[1]]", b"[truf", b'["a\nb"]', b"[1,]"])
def test_a_document_that_no_end_would_mend_is_not_cut_short(text: bytes) -> None:
    """It is wrong where it stands."""
    fault = syntax_fault(text)
    assert fault is not None
    assert not fault.cut_short


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({}, "$: the field `inner` is missing"),
        ({"inner": 1}, "$.inner: expected an array, found 1"),
        ({"inner": [{"m": 1}, {"m": 0}]}, "$.inner[1].m: expected a whole number of at least 1, found 0"),
        ({"inner": [{"m": True}]}, "$.inner[0].m: expected a whole number of at least 1, found true"),
        ({"inner": [{"m": 1, "n": 2}]}, "$.inner[0]: unknown field `n`"),
        ({"inner": [{"m": 1, "kind": "c"}]}, '$.inner[0].kind: expected "a" or "b", found "c"'),
        ({"inner": [{"m": 1, "pairs": {"x": [1, None]}}]}, "$.inner[0].pairs.x[1]: expected a whole number or a string, found null"),
        ({"inner": [{"m": 1, "two": [1, "x"]}]}, '$.inner[0].two[1]: expected a number, found "x"'),
        ({"inner": [], "maybe": {"m": 1, "pairs": []}}, "$.maybe.pairs: expected an object, found an array"),
        ([], "$: expected an object, found an array"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(value: Any, sentence: str) -> None:
    """The message names what was expected and what stood there."""
    assert mismatch(value, Outer) == sentence
    assert json_fault(json.dumps(value).encode(), Outer) == sentence


def test_a_record_s_fault_is_named_by_its_kind() -> None:
    """The tag picks the type out of the union of records."""
    record = json.loads(encode(result()))
    assert mismatch(record, AnyRecord, strict=False) is None
    record["status"] = "fine"
    assert (mismatch(record, AnyRecord, strict=False) or "").startswith('$.status: expected "ok" or')
