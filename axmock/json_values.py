"""JSON as the vendor's C++ library (nlohmann) reads, types and writes it."""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn

from axmock.crash import CppException

type_error = "nlohmann::detail::type_error"
parse_error = "nlohmann::detail::parse_error"
_LONE_SURROGATE_POSSIBLE = re.compile(r"\\u[dD][89a-fA-F]")

Json = object  # None, bool, int, float, str, list or dict


class Discarded(Exception):
    """The text is not JSON for nlohmann; the message is its parser's complaint."""


def parse(body: bytes) -> Json:
    """Read one JSON value.

    Stricter than Python: no NaN, no number beyond a double, no lone surrogate.  Laxer: a byte
    order mark is skipped and a NUL after the value ends the text.  The last of two equal keys
    wins in both.

    Raises Discarded.
    """
    try:
        text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        raise Discarded("invalid string: ill-formed UTF-8 byte") from error
    start = len(text) - len(text.lstrip(" \t\n\r"))
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        raise Discarded(_complaint(text[start:])) from error
    rest = text[end:].lstrip(" \t\n\r")
    if rest and not rest.startswith("\0"):
        raise Discarded(f"unexpected '{rest[0]}'; expected end of input")
    if _LONE_SURROGATE_POSSIBLE.search(text) and _has_lone_surrogate(value):
        raise Discarded("invalid string: surrogate U+D800..U+DBFF must be followed by another")
    return value


def parse_or_throw(body: bytes) -> Json:
    """Read one JSON value; raises CppException (a parse_error) where nlohmann would throw."""
    try:
        return parse(body)
    except Discarded as error:
        what = (
            "[json.exception.parse_error.101] parse error at line 1, column 1: "
            f"syntax error while parsing value - {error}"
        )
        raise CppException(parse_error, what) from error


def dump(value: Json) -> str:
    """Write `value` as nlohmann's dump(): no spaces, keys sorted, characters unescaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def member(value: Json, key: str) -> Json:
    """Return `value[key]` of an object, null when absent; raises CppException for other types."""
    if value is None:
        return None  # operator[] turns null into an empty object
    if not isinstance(value, dict):
        _throw(305, f"cannot use operator[] with a string argument with {type_name(value)}")
    return value.get(key)


def as_string(value: Json) -> str:
    """Return `value` if it is a JSON string; raises CppException otherwise."""
    if not isinstance(value, str):
        _throw(302, f"type must be string, but is {type_name(value)}")
    return value


def as_array(value: Json) -> list[Json]:
    """Return `value` if it is a JSON array; raises CppException otherwise."""
    if not isinstance(value, list):
        _throw(302, f"type must be array, but is {type_name(value)}")
    return value


def as_boolean(value: Json) -> bool:
    """Return `value` if it is a JSON boolean; raises CppException otherwise."""
    if not isinstance(value, bool):
        _throw(302, f"type must be boolean, but is {type_name(value)}")
    return value


def as_number(value: Json) -> float:
    """Return a number or boolean as a float; raises CppException otherwise."""
    if not isinstance(value, int | float):
        _throw(302, f"type must be number, but is {type_name(value)}")
    return float(value)


def as_int(value: Json) -> int:
    """Return a number or boolean as a C int: fractions are cut, integers wrap, doubles saturate."""
    if not isinstance(value, int | float):
        _throw(302, f"type must be number, but is {type_name(value)}")
    if isinstance(value, float):
        return max(-(2**31), min(2**31 - 1, int(value)))
    return (int(value) + 2**31) % 2**32 - 2**31


def as_ints(value: Json) -> list[int]:
    """Return an array of numbers as C ints; raises CppException otherwise."""
    return [as_int(item) for item in as_array(value)]


def type_name(value: Json) -> str:
    """Return the name that nlohmann's error messages use for the type of `value`."""
    names = {bool: "boolean", int: "number", float: "number", str: "string"}
    if value is None:
        return "null"
    return names.get(type(value), "array" if isinstance(value, list) else "object")


def _throw(number: int, message: str) -> NoReturn:
    raise CppException(type_error, f"[json.exception.type_error.{number}] {message}")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("number overflow")
    return number


def _integer(text: str) -> int | float:
    number = int(text)
    return number if -(2**63) <= number < 2**64 else _finite(text)


def _no_constants(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_float=_finite, parse_int=_integer, parse_constant=_no_constants)


def _has_lone_surrogate(value: Json) -> bool:
    try:
        dump(value).encode()
    except UnicodeEncodeError:
        return True
    return False


def _complaint(rest: str) -> str:
    if not rest:
        return "unexpected end of input; expected '[', '{', or a literal"
    return f"invalid literal; last read: '{rest[0]}'"
