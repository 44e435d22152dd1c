"""Reads JSON as Ollama does, which is as Go does, with Go's error messages.

Only the first value counts, keys match in any case, and `null` is the same as a missing key.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from axproxy.api.gojson.syntax import corrupt_at, syntax_error
from axproxy.errors import ClientError
from axproxy.output.model_json import DEEPEST, too_deep

MISSING_BODY = "missing request body"
EOF = "EOF"  # the same for the routes under /v1, where Ollama returns Go's own message

_BLANKS = " \t\r\n"
_LONGEST_NUMBER = 300  # digits; a float64 holds fewer, and Python refuses to read 4301
_LONGEST_SCAN = 256 * 1024  # bytes; finding Go's message takes about 1 µs per byte
_MOST_ELEMENTS = 200_000  # 4 MiB of "[],[]," would be 100 MiB of Python objects
_TOO_DEEP = "exceeded max depth"  # Go's message, at a depth of 10000
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_KINDS = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    type(None): "null",
}
_GO_TYPES = {
    dict: "map[string]interface {}",
    list: "[]interface {}",
    str: "string",
    bool: "bool",
    int: "float64",
    float: "float64",
}


def first_value(body: bytes, when_empty: str = MISSING_BODY) -> Any:
    """Return the first JSON value of `body`; what follows it is ignored.

    Raises `ClientError`, with the message `when_empty` for a body of blanks only.
    """
    text = body.decode(errors="replace").lstrip(_BLANKS)
    if not text:
        raise ClientError(when_empty)
    signs = sum(map(text.count, ",[{"))
    if signs > _MOST_ELEMENTS:
        raise ClientError(
            f"the JSON has more than {_MOST_ELEMENTS} commas and brackets; send less of it"
        )
    try:
        value, _ = _DECODER.raw_decode(text)
    except RecursionError as error:
        raise ClientError(_TOO_DEEP) from error
    except ValueError as error:
        message = syntax_error(body) if len(body) <= _LONGEST_SCAN else None
        raise ClientError(message or f"invalid JSON: {error}") from error
    if signs > DEEPEST and too_deep(value):
        raise ClientError(_TOO_DEEP)
    return value


def compact(value: Any) -> bytes:
    """Encode `value` as JSON without blanks or line ends."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def quoted(text: str) -> str:
    """Return `text` in quotes, as Go's `%q` prints it if all of it is printable."""
    return json.dumps(text, ensure_ascii=False)


def well_formed(text: str) -> str:
    """Return `text` with U+FFFD for each lone surrogate, as Go reads `\\ud800`."""
    return _LONE_SURROGATE.sub("\ufffd", text)


def well_formed_throughout(value: Any) -> Any:
    """Return a JSON value with every text in it `well_formed`, keys included."""
    match value:
        case str():
            return well_formed(value)
        case dict():
            return {well_formed(key): well_formed_throughout(item) for key, item in value.items()}
        case list():
            return [well_formed_throughout(item) for item in value]
    return value


def kind(value: Any) -> str:
    """Return the name of a value's type in JSON and in Go's messages."""
    return _KINDS[type(value)]


def go_type(value: Any) -> str:
    """Return Go's name for the type of a value that may be of any type."""
    return _GO_TYPES[type(value)]


def unfit(value: Any, wanted: str) -> str:
    """Return Go's message about a value that cannot become the type `wanted`."""
    return f"json: cannot unmarshal {kind(value)} into Go value of type {wanted}"


def _whole(digits: str) -> int:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else _beyond(digits)


def _fraction(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _beyond(digits)


def _beyond(digits: str) -> Any:
    raise ClientError(f"json: cannot unmarshal number {digits[:40]} into Go value of type float64")


def _refused(_constant: str) -> Any:
    raise ValueError("NaN and Infinity are Python's, not JSON's")


_DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_fraction, parse_constant=_refused)


class Fields:
    """One JSON object, read field by field into the types of a Go struct named `struct`.

    Each method raises `ClientError` for a value of another type, and returns Go's zero value for a
    missing field.
    """

    def __init__(self, struct: str, values: Mapping[str, Any], path: str = "") -> None:
        self._struct = struct
        self._path = path
        self._values = {
            name.casefold(): value for name, value in values.items() if value is not None
        }

    @classmethod
    def read(
        cls, struct: str, body: bytes, package: str = "api", when_empty: str = MISSING_BODY
    ) -> Fields:
        """Read the object that is the first value of `body`.

        Raises `ClientError`, with the message `when_empty` for a body of blanks only.
        """
        value = first_value(body, when_empty)
        if value is not None and not isinstance(value, dict):
            raise ClientError(unfit(value, f"{package}.{struct}"))
        return cls(struct, value or {})

    def string(self, name: str) -> str:
        return well_formed(self._get(name, str, "string") or "")

    def boolean(self, name: str, default: bool = False) -> bool:
        value = self._get(name, bool, "bool")
        return default if value is None else bool(value)

    def number(self, name: str) -> float | None:
        value: Any = self._get(name, (int, float), "float64")
        return None if value is None else float(value)

    def integer(self, name: str) -> int:
        value = self._get(name, int, "int")
        return 0 if value is None else int(value)

    def mapping(self, name: str, go_type: str = "map[string]interface {}") -> dict[str, Any]:
        return self._get(name, dict, go_type) or {}

    def integers(self, name: str) -> list[int]:
        return [element or 0 for element in self._elements(name, int, "int", "[]int")]

    def strings(self, name: str) -> list[str]:
        return [
            well_formed(element or "")
            for element in self._elements(name, str, "string", "[]string")
        ]

    def images(self, name: str) -> list[str]:
        """Return the images, bytes in base64; raises `ClientError` also for other text."""
        elements = self._elements(name, str, "api.ImageData", "[]api.ImageData")
        for element in elements:
            if element and (at := corrupt_at(element)) is not None:
                raise ClientError(f"illegal base64 data at input byte {at}")
        return [element or "" for element in elements]

    def objects(self, name: str, go_type: str, array_type: str | None = None) -> list[Fields]:
        """Return an array of structs; a `null` among them is an empty struct."""
        elements = self._elements(name, dict, go_type, array_type or f"[]{go_type}")
        path = f"{self._path}{name}."
        return [Fields(self._struct, element or {}, path) for element in elements]

    def object(self, name: str, go_type: str) -> Fields:
        """Return a struct, an empty one for a missing field."""
        return Fields(self._struct, self._get(name, dict, go_type) or {}, f"{self._path}{name}.")

    def misfit(self, name: str, go_type: str) -> ClientError:
        """Return the error for a value whose type is not the struct's."""
        return self._misfit(kind(self._values[name.casefold()]), name, go_type)

    def anything(self, name: str) -> Any:
        return self._values.get(name)

    def _get(self, name: str, wanted: type | tuple[type, ...], go_type: str) -> Any:
        value = self._values.get(name)
        self._check(name, value, wanted, go_type)
        return value

    def _elements(self, name: str, wanted: type, go_type: str, array_type: str) -> list[Any]:
        elements = self._get(name, list, array_type) or []
        for element in elements:
            self._check(name, element, wanted, go_type)
        return elements

    def _check(self, name: str, value: Any, wanted: type | tuple[type, ...], go_type: str) -> None:
        # To Python a bool is an int, to JSON it is not.
        if value is None or (
            isinstance(value, wanted) and (type(value) is not bool or wanted is bool)
        ):
            return
        found = kind(value)
        if found == "number" and wanted is int:
            found = f"number {value}"  # Go shows a number that is not whole
        raise self._misfit(found, name, go_type)

    def _misfit(self, found: str, name: str, go_type: str) -> ClientError:
        return ClientError(
            f"json: cannot unmarshal {found} into Go struct field "
            f"{self._struct}.{self._path}{name} of type {go_type}"
        )
