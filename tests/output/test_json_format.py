"""JSON is asked for in words, found in the answer, and never made up."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.messages import Message
from axproxy.output.json_format import corrected, judge, with_instruction
from axproxy.output.model_json import DEEPEST

PET = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}
REX = '{"name": "Rex"}'


@pytest.mark.parametrize(
    "answer",
    [
        REX,
        f"\n {REX}\n",
        f"```json\n{REX}\n```",
        f"```\n{REX}\n```\nI hope this helps!",
        f"Here it is: {REX}",
        f"Not [1], not {{}}, but {REX}, for {{x}}.",
        f"[{{]{REX}",
        f'{{"name": 1}} would be wrong, so: {REX}',
    ],
)
def test_what_surrounds_the_json_is_taken_away(answer: str) -> None:
    verdict = judge(PET, answer)
    assert (verdict.text, verdict.problem) == (REX, None)


@pytest.mark.parametrize(
    ("form", "answer", "text", "problem"),
    [
        ("json", "{}", "{}", None),
        ("json", "So: {} ", "{}", None),
        ("json", "[1]", "[1]", "it is not a JSON object"),
        ("json", '"{}"', '"{}"', "it is not a JSON object"),
        ("json", "I cannot.", "I cannot.", "it is not JSON"),
        ("json", "", "", "it is not JSON"),
        ("json", '{"a": 1', '{"a": 1', "it is not JSON"),
        ("json", '{"a": NaN}', '{"a": NaN}', "it is not JSON"),
        ("json", '{"a": 1e999}', '{"a": 1e999}', "it is not JSON"),
        (PET, '{"nam": 1}', '{"nam": 1}', "$: 'name' is a required property"),
        ({"type": "integer"}, " 7\n", "7", None),
        ({"type": "string"}, '"é"', '"é"', None),
        ({}, "7", "7", None),
        ({}, "seven", "seven", "it is not JSON"),
    ],
)
def test_an_answer_is_judged(form: Any, answer: str, text: str, problem: str | None) -> None:
    verdict = judge(form, answer)
    assert (verdict.text, verdict.problem) == (text, problem)


def test_a_line_break_in_a_string_is_written_as_readers_want_it() -> None:
    verdict = judge("json", '{"é": "a\nb"}')
    assert (verdict.text, verdict.problem) == (r'{"é": "a\nb"}', None)


@given(st.text())
def test_what_is_sent_is_what_was_said_or_json(answer: str) -> None:
    verdict = judge("json", answer)
    if verdict.is_json:
        json.loads(verdict.text)
    else:
        assert verdict.text == answer


@given(st.dictionaries(st.text(), st.integers() | st.text()), st.text("abc \n`:"), st.text("abc `"))
def test_an_object_is_found_in_any_talk(value: dict[str, Any], before: str, after: str) -> None:
    verdict = judge("json", before + json.dumps(value) + after)
    assert json.loads(verdict.text) == value
    assert verdict.problem is None


@pytest.mark.parametrize("answer", ["[" * 20_000, '{"a":' * 20_000, "[{" * 5000, "{" * 200_000])
def test_an_answer_of_brackets_takes_no_time(answer: str) -> None:
    begun = time.monotonic()
    assert judge("json", answer).problem
    assert time.monotonic() - begun < 30  # hanging is what it must not do


def test_brackets_within_brackets_are_never_too_much_for_us() -> None:
    # Whatever the depth at which Python gives up, somebody's step comes just after it.
    for depth in (*range(1, DEEPEST + 10), *range(DEEPEST + 10, 1200, 3)):
        answer = '{"a":' + "[" * depth + "]" * depth + "}"
        assert (judge("json", answer).problem is None) is (depth < DEEPEST)


def test_the_form_is_told_in_the_systems_words() -> None:
    user, system = Message("user", "Hi"), Message("system", "Be kind.")
    added, same = with_instruction((user,), "json")
    assert (added.role, same) == ("system", user)
    assert "JSON object" in added.content
    told, same = with_instruction((system, user), PET)
    assert told.content.startswith("Be kind.\n\n")
    assert told.content.endswith(json.dumps(PET))
    assert same == user


def test_a_second_try_is_told_what_was_wrong_in_its_last_turn() -> None:
    before, user = Message("system", "Be kind."), Message("user", "Which pet?")
    kept, last = corrected((before, user), "x" * 5000, "it is not JSON")
    assert kept == before
    assert last.content.startswith("Which pet?\n\n")
    assert "it is not JSON" in last.content
    assert len(last.content) < 1300
    *history, last = corrected((user, Message("tool", "21")), "no", "it is not JSON")
    assert [turn.role for turn in history] == ["user", "tool"]
    assert last.role == "user"
