"""Transcripts of a client's requests and a server's answers, to read and to compare with.

    > POST /api/chat                          a request, its telling headers, its body
    < 200 application/x-ndjson chunked        the answer: status, type, framing
    <+ {"message":{"content":"Hello"}, ...}   lines alike but for a piece of text, joined
    < {"done":true, ...}                      one line

What differs from run to run (times, ids, durations) has one fixed value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

HEADERS = ("Accept", "Authorization", "Content-Type", "Origin", "User-Agent")
LONGEST = 160  # characters of a string in a request; system prompts run to pages

_SAME_EACH_DAY = ((r"\d\d:\d\d:\d\d", "03:04:05"), (r"20\d\d-\d\d-\d\d", "2026-01-02"))
_SAME_EACH_TIME = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", "2026-01-02T03:04:05.000006Z"),
    (r'("\w+_duration":)\d+', r"\g<1>1000000"),
    (r'("created":)\d+', r"\g<1>1767323045"),
    (r'"(chatcmpl|cmpl)-\w+"', r'"\1-1"'),
    (r'"call_\w+"', '"call_abcd1234"'),
)
_PIECES = {"content", "response", "thinking", "reasoning", "text"}  # of text, in lines of a stream
_EXACT = {"done", "done_reason", "error", "finish_reason", "model", "object", "role", "status"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: str


@dataclass(frozen=True)
class Answer:
    """`lines` are those of the body, events of an event stream without their blank lines."""

    status: int
    content_type: str
    framing: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Exchange:
    request: Request
    answer: Answer


def request_of(method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes) -> Request:
    """Return a request without its other headers and without the rest of long texts."""
    sent = {name.title(): value for name, value in headers}
    kept = tuple((name, sent[name]) for name in HEADERS if name in sent)
    return Request(method, path, kept, _shortened(body.decode()))


def answer_of(status: int, headers: dict[str, str], body: bytes) -> Answer:
    """Return an answer as it came; its lines must be complete."""
    sent = {name.title(): value for name, value in headers.items()}
    content_type = sent.get("Content-Type", "-")
    if "chunked" in sent.get("Transfer-Encoding", ""):
        framing = "chunked"
    else:
        framing = "length" if "Content-Length" in sent else "none"
    text = body.decode()
    for pattern, value in _SAME_EACH_TIME:
        text = re.sub(pattern, value, text)
    end = {"application/x-ndjson": "\n", "text/event-stream": "\n\n"}.get(content_type)
    if end is None:
        return Answer(status, content_type, framing, (text,) if text else ())
    *lines, rest = text.split(end)
    assert rest == "", f"the last line has no end: {rest!r}"
    return Answer(status, content_type, framing, tuple(lines))


def render(title: str, exchanges: Sequence[Exchange]) -> str:
    parts = [f"# {line}\n" for line in title.splitlines()]
    for exchange in exchanges:
        asked, received = exchange.request, exchange.answer
        lines = [f"> {asked.method} {asked.path}"]
        lines += [f"> {name}: {value}" for name, value in asked.headers]
        lines += [f"> {asked.body}"] if asked.body else []
        lines += [f"< {received.status} {received.content_type} | {received.framing}"]
        lines += [f"{mark} {line}" for mark, line in _joined(received.lines)]
        parts.append("\n" + "\n".join(lines) + "\n")
    return "".join(parts)


def parse(text: str) -> list[Exchange]:
    exchanges = []
    for block in text.split("\n\n")[1:]:
        asked = [line[2:] for line in block.splitlines() if line.startswith("> ")]
        received = [line.partition(" ")[2] for line in block.splitlines() if line.startswith("<")]
        method, path = asked[0].split()
        named = [tuple(line.split(": ", 1)) for line in asked[1:] if not line.startswith("{")]
        body = next((line for line in asked[1:] if line.startswith("{")), "")
        status, content_type, framing = re.fullmatch(r"(\d+) (.*) \| (\w+)", received[0]).groups()
        answer = Answer(int(status), content_type, framing, tuple(received[1:]))
        exchanges.append(Exchange(Request(method, path, tuple(named), body), answer))
    return exchanges


def title_of(text: str) -> str:
    return "\n".join(line[2:] for line in text.splitlines() if line.startswith("# "))


def shape(answer: Answer) -> dict[str, Any]:
    """Return what must stay the same: everything, but only the types of texts and numbers."""
    lines = [_shape(_value(line)) for _, line in _joined(answer.lines)]
    return {
        "status": answer.status,
        "content type": answer.content_type,
        "framing": answer.framing,
        "lines": lines,
    }


def _shape(value: Any, key: str = "") -> Any:
    match value:
        case dict():
            # A list of pairs, because the order of keys counts.
            return [(name, _shape(inner, name)) for name, inner in value.items()]
        case list():
            return ["list of", *(kind for kind, _ in groupby(_shape(inner) for inner in value))]
        case str() if key not in _EXACT:
            return "text"
        case int() | float() if not isinstance(value, bool):
            return type(value).__name__
    return value


def _value(line: str) -> Any:
    """Return the JSON of a line, or the line."""
    try:
        return json.loads(line.removeprefix("data: "))
    except ValueError:
        return line


def _joined(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Return lines with their marks; lines that differ only in a piece of text become one."""
    joined: list[tuple[str, str]] = []
    for line in lines:
        if joined and (both := _both(joined[-1][1], line)):
            joined[-1] = ("<+", both)
        else:
            joined.append(("<", line))
    return joined


def _both(one: str, other: str) -> str | None:
    values = _value(one), _value(other)
    if not all(isinstance(value, dict) for value in values):
        return None
    try:
        merged = _merged(*values)
    except ValueError:
        return None
    prefix = "data: " if one.startswith("data: ") else ""
    return prefix + json.dumps(merged, ensure_ascii=False, separators=(",", ":"))


def _merged(one: Any, other: Any, key: str = "") -> Any:
    match one, other:
        case dict(), dict() if list(one) == list(other):
            return {name: _merged(one[name], other[name], name) for name in one}
        case list(), list() if len(one) == len(other):
            return [_merged(*pair) for pair in zip(one, other, strict=True)]
        case str(), str() if key in _PIECES:
            return one + other
    if one == other:
        return one
    raise ValueError("these lines differ in more than a piece of text")


def _shortened(body: str) -> str:
    if not body:
        return ""
    try:
        value = json.loads(body)
    except ValueError:
        return body
    return json.dumps(_cut(value), ensure_ascii=False, separators=(",", ":"))


def _cut(value: Any) -> Any:
    match value:
        case dict():
            return {name: _cut(inner) for name, inner in value.items()}
        case list():
            return [_cut(inner) for inner in value]
        case str():
            for pattern, fixed in _SAME_EACH_DAY:
                value = re.sub(pattern, fixed, value)
            return value if len(value) <= LONGEST else value[:LONGEST] + "…"
    return value
