"""Answers that must be JSON, from a runtime that has no grammar: asked for in words, then checked.

What surrounds the JSON is taken away, and nothing of it is ever made up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from axproxy.messages import Message
from axproxy.output import model_json

AnswerFormat = Literal["json"] | Mapping[str, Any]

_BRACKET = re.compile(r"[{\[]")
_ONLY = "and with nothing else: no explanation, no code fence."
_SHOWN_AGAIN = 1000  # characters of an answer that was refused
_STARTS_TRIED = 50  # brackets in an answer from which a value is looked for


@dataclass(frozen=True)
class FormatCheck:
    """`text` is what to send; `problem` says in words why it does not follow the form, and is None
    where it does.  `is_json` also where JSON was found that is not what was asked for."""

    text: str
    is_json: bool
    problem: str | None


def with_instruction(messages: Sequence[Message], form: AnswerFormat) -> tuple[Message, ...]:
    """The conversation, with the form told in the system's words."""
    if form == "json":
        told = f"Answer with one JSON object {_ONLY}"
    else:
        schema = json.dumps(form, ensure_ascii=False)
        told = f"Answer with one JSON value that follows this JSON schema, {_ONLY}\n{schema}"
    if messages and messages[0].role == "system":
        first, *rest = messages
        return (replace(first, content=f"{first.content}\n\n{told}"), *rest)
    return (Message("system", told), *messages)


def corrected(messages: Sequence[Message], answer: str, problem: str) -> tuple[Message, ...]:
    """The conversation once more, after an answer that did not follow the form.

    It is all in the last turn, for that one stays when older ones must go.
    """
    told = (
        f"An earlier attempt to answer was:\n{answer[:_SHOWN_AGAIN]}\nIt was refused: {problem}\n"
        "Answer again, with the corrected JSON only."
    )
    *before, last = messages
    if last.role != "user":
        return (*messages, Message("user", told))
    return (*before, replace(last, content=f"{last.content}\n\n{told}"))


def _complaint_of(schema: Mapping[str, Any]) -> Callable[[Any], str | None]:
    # A tenth of a second and some megabytes, which most services never need.
    from axproxy.output.json_schema import SchemaCheck  # noqa: PLC0415 - see above

    return SchemaCheck(schema).complaint


def judge(form: AnswerFormat, text: str) -> FormatCheck:
    """Looks for the JSON that was asked for in the whole of an answer."""
    problem_with = _is_no_object if form == "json" else _complaint_of(form)
    best: FormatCheck | None = None
    for found, value in _values(text):
        problem = problem_with(value)
        verdict = FormatCheck(found, True, problem)
        if problem is None:
            return verdict
        best = best or verdict
    return best or FormatCheck(text, False, "it is not JSON")


def _is_no_object(value: Any) -> str | None:
    return None if isinstance(value, dict) else "it is not a JSON object"


def _values(text: str) -> Iterator[tuple[str, Any]]:
    """The JSON values in a text, each with its own text: the whole of it, else objects and lists
    that stand in it, the first ones first."""
    stripped = text.strip()
    try:
        yield _as_json(stripped, model_json.read(stripped))
        return
    except ValueError:
        pass
    end = 0
    for start in islice((found.start() for found in _BRACKET.finditer(text)), _STARTS_TRIED):
        if start < end:
            continue  # within the value before
        try:
            value, end = model_json.read_at(text, start)
        except ValueError:
            continue
        yield _as_json(text[start:end], value)


def _as_json(text: str, value: Any) -> tuple[str, Any]:
    """The text as it is where every reader takes it, else the same value written properly."""
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(value, ensure_ascii=False), value
    return text, value
