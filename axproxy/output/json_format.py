"""Gets JSON from a runtime without grammars: asks for it in the prompt, then checks the answer.

Text around the JSON is removed; nothing is ever added to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from axproxy.messages import Message, PackedSchema
from axproxy.output import model_json
from axproxy.output.instructions import after_refusal, in_system_prompt

AnswerFormat = Literal["json"] | Mapping[str, Any]

_BRACKET = re.compile(r"[{\[]")
_ONLY = "and with nothing else: no explanation, no code fence."
_BRACKETS_TRIED = 50  # brackets in an answer at which a value is looked for


@dataclass(frozen=True)
class FormatCheck:
    """The JSON found in an answer, and whether it has the format that was asked for.

    `text` is what to send.  `problem` is why it does not have the format, None where it does.
    `is_json` is also true for JSON that does not have the format.
    """

    text: str
    is_json: bool
    problem: str | None


def with_instruction(messages: Sequence[Message], form: AnswerFormat) -> tuple[Message, ...]:
    """Return the conversation with the format stated in the system prompt."""
    if form == "json":
        instruction = f"Answer with one JSON object {_ONLY}"
    else:
        packed = form.text if isinstance(form, PackedSchema) else None
        schema = packed or json.dumps(form, ensure_ascii=False)
        instruction = f"Answer with one JSON value that follows this JSON schema, {_ONLY}\n{schema}"
    return in_system_prompt(messages, instruction)


def with_correction(messages: Sequence[Message], answer: str, problem: str) -> tuple[Message, ...]:
    """Return the conversation for a second try, with the first answer and what is wrong with it."""
    words = "Answer again, with the corrected JSON only."
    return after_refusal(messages, answer, problem, words)


def _schema_check(schema: Mapping[str, Any]) -> Callable[[Any], str | None]:
    # The import takes a tenth of a second and some megabytes; most services never need it.
    from axproxy.output.json_schema import SchemaCheck  # noqa: PLC0415 - see above

    return SchemaCheck(schema.unpacked() if isinstance(schema, PackedSchema) else schema).complaint


def check_format(form: AnswerFormat, text: str) -> FormatCheck:
    """Find the JSON that was asked for in a whole answer."""
    problem_with = _object_check if form == "json" else _schema_check(form)
    best: FormatCheck | None = None
    for found, value in _values(text):
        problem = problem_with(value)
        check = FormatCheck(found, True, problem)
        if problem is None:
            return check
        best = best or check
    return best or FormatCheck(text, False, "it is not JSON")


def _object_check(value: Any) -> str | None:
    return None if isinstance(value, dict) else "it is not a JSON object"


def _values(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the JSON values in a text, each with its own text.

    That is the whole text, else the objects and lists in it, in order.
    """
    stripped = text.strip()
    try:
        yield _as_json(stripped, model_json.read(stripped))
        return
    except ValueError:
        pass
    end = 0
    for start in islice((found.start() for found in _BRACKET.finditer(text)), _BRACKETS_TRIED):
        if start < end:
            continue  # inside the value before
        try:
            value, end = model_json.read_at(text, start)
        except ValueError:
            continue
        yield _as_json(text[start:end], value)


def _as_json(text: str, value: Any) -> tuple[str, Any]:
    """Return the text unchanged if strict parsers accept it, else the value encoded again."""
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(value, ensure_ascii=False), value
    return text, value
