"""Sentences about files that can't be decoded. They are vkprobe's own, so that no library's release changes them."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, NoReturn, Union

import msgspec

_SHOWN = 40  # characters of a value in a message
_UNFINISHED = re.compile(
    r'"(?:[^"\\]|\\.)*\\?|\\(?:u[0-9a-fA-F]{0,3})?|(?<=\\)u[0-9a-fA-F]{0,4}|(?<=\\u)[0-9a-fA-F]{0,4}|t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?|-|\.|[eE][+-]?|N|Na|-?I[nfity]{0,6}',
    re.S,
)
"""The rest of a document that ends within a string, a literal or a number."""

_WORDS: dict[Any, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
    dict: "an object",
    list: "an array",
    tuple: "an array",
}


class SyntaxFault(NamedTuple):
    """The place where a JSON document goes wrong; line and column count from 1.

    Attributes:
        cut_short: the document is right as far as it goes, and ends before its end.
    """

    line: int
    column: int
    cut_short: bool


def syntax_fault(data: bytes) -> SyntaxFault | None:
    """Find the first place where UTF-8 text stops being JSON; None where it is JSON.

    >>> syntax_fault(b'{"a": 1')
    SyntaxFault(line=1, column=8, cut_short=True)
    >>> syntax_fault(b'{"a":\\n x}')
    SyntaxFault(line=2, column=2, cut_short=False)

    Raises:
        UnicodeDecodeError: it isn't UTF-8.
        RecursionError: it is nested too deeply.
    """
    text = data.decode()
    try:
        json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        cut_short = _UNFINISHED.fullmatch(text, error.pos) is not None or not text[error.pos :].strip()
        if cut_short:
            lines = text.split("\n")
            return SyntaxFault(len(lines), len(lines[-1]) + 1, True)
        return SyntaxFault(error.lineno, error.colno, False)
    except _NonFiniteError as error:
        at = text.index(error.args[0])
        return SyntaxFault(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at), False)
    return None


class _NonFiniteError(Exception):
    """A bare NaN or Infinity, which Python's parser takes and JSON doesn't have."""


def _refuse(word: str) -> NoReturn:
    raise _NonFiniteError(word)


def shown(value: Any) -> str:
    """A value as it stands in a message: short ones as JSON, objects and arrays by their kind.

    >>> shown("x"), shown([1])
    ('"x"', 'an array')
    """
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    try:
        text = msgspec.json.encode(value).decode()
    except TypeError:
        text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def mismatch(value: Any, wanted: Any, *, strict: bool = True, path: str = "$") -> str | None:
    """Say where and how a decoded value differs from the type that it should have; None where it fits.

    Args:
        wanted: what `msgspec.convert` takes.
        strict: as for `msgspec.convert`.
        path: the place of `value` in its document.

    >>> class Shape(msgspec.Struct):
    ...     m: int
    >>> mismatch({"m": "4"}, Shape)
    '$.m: expected a whole number, found "4"'
    >>> mismatch({}, Shape)
    '$: the field `m` is missing'
    """
    try:
        msgspec.convert(value, wanted, strict=strict)
    except (msgspec.MsgspecError, RecursionError):
        pass  # the sentence below says what is wrong
    else:
        return None
    chosen = _member(wanted, value)
    for inner, inner_type, inner_path in _parts(value, chosen, path):
        if (fault := mismatch(inner, inner_type, strict=strict, path=inner_path)) is not None:
            return fault
    if _is_struct(chosen) and isinstance(value, dict):
        return _fields_fault(value, chosen, path)
    return f"{path}: expected {_words(wanted)}, found {shown(value)}"


def json_fault(data: bytes, wanted: Any, *, strict: bool = True) -> str:
    """Say why a JSON document can't be decoded as a type: its text, its syntax, or a value in it.

    >>> json_fault(b"{", int), json_fault(b"[]", int)
    ('not JSON: it is cut short', '$: expected a whole number, found an array')
    """
    try:
        fault = syntax_fault(data)
        if fault is None:
            return mismatch(msgspec.json.decode(data), wanted, strict=strict) or "holds a value that vkprobe can't represent"
    except UnicodeDecodeError:
        return "not UTF-8 text"
    except RecursionError:
        return "nested too deeply"
    except msgspec.MsgspecError:
        return "holds a number or a string that vkprobe can't represent"
    return "not JSON: it is cut short" if fault.cut_short else f"not JSON at line {fault.line} column {fault.column}"


def _bare(wanted: Any) -> Any:
    return typing.get_args(wanted)[0] if typing.get_origin(wanted) is typing.Annotated else wanted


def _members(wanted: Any) -> tuple[Any, ...]:
    bare = _bare(wanted)
    return typing.get_args(bare) if typing.get_origin(bare) in (Union, types.UnionType) else (bare,)


def _is_struct(wanted: Any) -> bool:
    return isinstance(wanted, type) and issubclass(wanted, msgspec.Struct)


def _container(wanted: Any) -> Any:
    return typing.get_origin(_bare(wanted)) or _bare(wanted)


def _member(wanted: Any, value: Any) -> Any:
    """The member of a union that a value of this kind and tag would have to fit."""
    for member in _members(wanted):
        if isinstance(value, dict):
            if _container(member) is dict:
                return _bare(member)
            if _is_struct(member):
                tag, field = member.__struct_config__.tag, member.__struct_config__.tag_field
                if tag is None or value.get(field) == tag:
                    return member
        if isinstance(value, list) and _container(member) in (list, tuple):
            return _bare(member)
    return None


def _parts(value: Any, wanted: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """Each part of a value with the type that it should have, and its place."""
    arguments = typing.get_args(wanted)
    if _is_struct(wanted):
        for field in msgspec.structs.fields(wanted):
            if field.encode_name in value:
                yield value[field.encode_name], field.type, f"{path}.{field.encode_name}"
    elif isinstance(value, dict) and len(arguments) == 2:
        for name, inner in value.items():
            yield inner, arguments[1], f"{path}.{name}" if re.fullmatch(r"[\w-]{1,120}", name) else f"{path}[{shown(name)}]"
    elif isinstance(value, list) and arguments:
        variadic = _container(wanted) is list or arguments[-1] is Ellipsis
        for index, inner in enumerate(value if variadic else value[: len(arguments)]):
            yield inner, arguments[0] if variadic else arguments[index], f"{path}[{index}]"


def _fields_fault(value: dict[str, Any], wanted: Any, path: str) -> str:
    fields = msgspec.structs.fields(wanted)
    for field in fields:
        if field.required and field.encode_name not in value:
            return f"{path}: the field `{field.encode_name}` is missing"
    field_names = {field.encode_name for field in fields} | {wanted.__struct_config__.tag_field}
    if wanted.__struct_config__.forbid_unknown_fields and (unknown := [name for name in value if name not in field_names]):
        return f"{path}: unknown field `{unknown[0][:_SHOWN]}`"
    try:
        msgspec.convert(value, wanted, strict=False)
    except msgspec.ValidationError as error:
        if error.__cause__ is not None:  # what the type's own __post_init__ raised, in our words
            return f"{path}: {error.__cause__}"
    return f"{path}: not a valid {wanted.__name__}"


def _words(wanted: Any) -> str:
    """Words for the value that a type expects, as in "expected ...".

    >>> _words(Union[str, bool])
    'a string or true or false'
    """
    words = []
    for member in _members(wanted):
        bare = _bare(member)
        if typing.get_origin(bare) is Literal:
            words.append(" or ".join(map(shown, typing.get_args(bare))))
        else:
            words.append("an object" if _is_struct(bare) else _WORDS.get(_container(bare), "another kind of value"))
    for meta in wanted.__metadata__ if typing.get_origin(wanted) is typing.Annotated else ():
        for name, limit in (("ge", "of at least"), ("gt", "above"), ("le", "of at most"), ("lt", "below")):
            if getattr(meta, name, None) is not None:
                words[-1] += f" {limit} {getattr(meta, name)}"
    return " or ".join(dict.fromkeys(words))
