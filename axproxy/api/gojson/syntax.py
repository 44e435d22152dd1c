"""Go's messages about text that is not JSON, or not base64: Ollama's clients know them."""

from __future__ import annotations

import re

_VALUE = "looking for beginning of value"
_KEY = "looking for beginning of object key string"
_COLON = "after object key"
_AFTER = {"{": "after object key:value pair", "[": "after array element"}
_CLOSING = {"{": "}", "[": "]"}

_BLANKS = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]+|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*')
_HEX = re.compile(r"[0-9a-fA-F]*")
# Each part of a number: what begins it, what must follow, and what Go was doing there.
_NUMBER = (
    (re.compile(r"-?"), re.compile(r"0|[1-9][0-9]*"), "in numeric literal"),
    (re.compile(r"\."), re.compile(r"[0-9]+"), "after decimal point in numeric literal"),
    (re.compile(r"[eE][+-]?"), re.compile(r"[0-9]+"), "in exponent of numeric literal"),
)
_LITERALS = {"t": "true", "f": "false", "n": "null"}
_ESCAPES = {"'": "\\'", "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f"} | {
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}

_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_LINE_ENDS = re.compile(r"[\r\n]*")


class _JSONSyntaxError(Exception):
    def __init__(self, at: int, where: str) -> None:
        self.at = at
        self.where = where


def syntax_error(body: bytes) -> str | None:
    """Return Go's message about the first JSON value in `body`, None if it is well-formed."""
    text = body.decode("latin-1")  # Go reads single bytes, so `ï` stands for a byte order mark
    try:
        _scan(text)
    except _JSONSyntaxError as error:
        if error.at >= len(text):
            return "unexpected EOF"
        return f"invalid character {_quoted(text[error.at])} {error.where}"
    return None


def _scan(text: str) -> None:
    containers: list[str] = []
    wanted, may_close, at = _VALUE, False, 0
    while True:
        at = _end(_BLANKS, text, at)
        char = text[at : at + 1]
        if may_close and char == _CLOSING[containers[-1]]:
            containers.pop()
            at += 1
        elif wanted in _AFTER.values():
            _expect(",", text, at, wanted)
            wanted, may_close, at = _KEY if containers[-1] == "{" else _VALUE, False, at + 1
            continue
        elif wanted == _COLON:
            _expect(":", text, at, wanted)
            wanted, at = _VALUE, at + 1
            continue
        elif wanted == _KEY:
            _expect('"', text, at, wanted)
            wanted, may_close, at = _COLON, False, _after_string(text, at)
            continue
        elif char in _CLOSING:
            containers.append(char)
            wanted, may_close, at = _KEY if char == "{" else _VALUE, True, at + 1
            continue
        else:
            at = _after_scalar(text, at)
        if not containers:
            return
        wanted, may_close = _AFTER[containers[-1]], True


def _expect(char: str, text: str, at: int, where: str) -> None:
    if text[at : at + 1] != char:
        raise _JSONSyntaxError(at, where)


def _after_scalar(text: str, at: int) -> int:
    char = text[at : at + 1]
    if char == '"':
        return _after_string(text, at)
    if char in _LITERALS:
        literal = _LITERALS[char]
        for offset, letter in enumerate(literal):
            _expect(letter, text, at + offset, f"in literal {literal} (expecting '{letter}')")
        return at + len(literal)
    if char and char in "-0123456789":
        return _after_number(text, at)
    raise _JSONSyntaxError(at, _VALUE)


def _after_string(text: str, at: int) -> int:
    end = _end(_STRING, text, at)
    if text[end : end + 1] == '"':
        return end + 1
    if text[end : end + 1] != "\\":
        raise _JSONSyntaxError(end, "in string literal")
    if text[end + 1 : end + 2] == "u":
        raise _JSONSyntaxError(_end(_HEX, text, end + 2), "in \\u hexadecimal character escape")
    raise _JSONSyntaxError(end + 1, "in string escape code")


def _after_number(text: str, at: int) -> int:
    for begins, follows, where in _NUMBER:
        if begun := begins.match(text, at):
            digits = follows.match(text, begun.end())
            if not digits:
                raise _JSONSyntaxError(begun.end(), where)
            at = digits.end()
    return at


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _quoted(char: str) -> str:
    if char in _ESCAPES:
        return f"'{_ESCAPES[char]}'"
    if char.isprintable():
        return f"'{char}'"
    return f"'\\x{ord(char):02x}'" if char < "\x80" else f"'\\u{ord(char):04x}'"


def corrupt_at(text: str) -> int | None:
    """Return the byte, counted from 0, at which `text` stops being base64, None if it does not.

    It is the place that Go's strict decoder reports.  Line ends are skipped wherever they are; the
    padding is required, and nothing may follow it.
    """
    letters = 0  # of the present group of four
    for at, char in enumerate(text):
        if char in "\r\n":
            continue
        if char == "=":
            return _corrupt_padding(text, at, letters)
        if char not in _BASE64:
            return at
        letters = (letters + 1) % 4
    return len(text) - letters if letters else None


def _corrupt_padding(text: str, at: int, letters: int) -> int | None:
    if letters < 2:
        return at
    end = _end(_LINE_ENDS, text, at + 1)
    if letters == 2:  # one byte in two letters: a second = must follow
        if end == len(text):
            return end
        if text[end] != "=":
            return end - 1
        end = _end(_LINE_ENDS, text, end + 1)
    return None if end == len(text) else end
