"""Finds the end of a JSON object or list by its brackets, in text that comes in pieces."""

from __future__ import annotations

import re

_BLANKS = re.compile(r"\s*")
_SIGN = re.compile(r'["{}\[\]<]')  # what matters outside a string
_STRING_SIGN = re.compile(r'["\\]')
_CLOSING = {"{": "}", "[": "]"}


class NoValue(ValueError):
    """The character at `at` cannot be part of a value."""

    def __init__(self, at: int) -> None:
        super().__init__("not a value")
        self.at = at


class Nesting:
    """Reads each character once, whatever the pieces; looks at the signs of JSON only."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._in_string = False
        self._escaped = False

    def end_of_value(self, text: str, at: int) -> int | None:
        """Return where the value ends, None if it does not end in `text`.

        Reading begins at `at`, where the piece before ended.  Raises `NoValue`.
        """
        while at < len(text):
            if self._in_string:
                at = self._after_string_sign(text, at)
                continue
            sign = _SIGN.search(text, at if self._open else end_of(_BLANKS, text, at))
            if not self._open:
                at = end_of(_BLANKS, text, at)
                if at < len(text) and text[at] not in _CLOSING:
                    raise NoValue(at)
            if not sign:
                return None
            if sign[0] == "<":
                raise NoValue(sign.start())
            at = sign.end()
            if self._read(sign[0]):
                return at
        return None

    def missing(self, text: str) -> str:
        """Return the brackets that `text`, as read so far, lacks at its end.

        Nothing where it ends inside a string, or where not even its first member is complete: that
        is no value which lacks only brackets.
        """
        lacks = "".join(_CLOSING[bracket] for bracket in reversed(self._open))
        whole = len(lacks) > 1 or text.rstrip().endswith("}")
        return lacks if whole and not self._in_string else ""

    def _read(self, sign: str) -> bool:
        """Return whether the value ends with this sign."""
        if sign == '"':
            self._in_string = True
        elif sign in _CLOSING:
            self._open.append(sign)
        else:
            self._open.pop()
            return not self._open
        return False

    def _after_string_sign(self, text: str, at: int) -> int:
        if self._escaped:
            self._escaped = False
            return at + 1
        sign = _STRING_SIGN.search(text, at)
        if not sign:
            return len(text)
        self._escaped = sign[0] == "\\"
        self._in_string = self._escaped
        return sign.end()


def end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return where what `pattern` matches at `at` ends; `at` where it matches nothing."""
    found = pattern.match(text, at)
    return found.end() if found else at
