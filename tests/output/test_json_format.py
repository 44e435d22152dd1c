"""JSON is asked for in the prompt and found in the answer; nothing is added to it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.messages import Message
from axproxy.output.json_format import check_format, with_correction, with_instruction
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
def test_text_around_the_json_is_removed(answer: str) -> None:
    check = check_format(PET, answer)
    assert (check.text, check.problem) == (REX, None)


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
def test_an_answer_is_checked(form: Any, answer: str, text: str, problem: str | None) -> None:
    check = check_format(form, answer)
    assert (check.text, check.problem) == (text, problem)


def test_a_line_break_in_a_string_is_escaped() -> None:
    check = check_format("json", '{"é": "a\nb"}')
    assert (check.text, check.problem) == (r'{"é": "a\nb"}', None)


@given(st.text())
def test_the_text_sent_is_the_models_or_json(answer: str) -> None:
    check = check_format("json", answer)
    if check.is_json:
        json.loads(check.text)
    else:
        assert check.text == answer


@given(st.dictionaries(st.text(), st.integers() | st.text()), st.text("abc \n`:"), st.text("abc `"))
def test_an_object_is_found_in_any_text(value: dict[str, Any], before: str, after: str) -> None:
    check = check_format("json", before + json.dumps(value) + after)
    assert json.loads(check.text) == value
    assert check.problem is None


@pytest.mark.parametrize("answer", ["[" * 20_000, '{"a":' * 20_000, "[{" * 5000, "{" * 200_000])
def test_an_answer_of_brackets_takes_no_time(answer: str) -> None:
    begun = time.monotonic()
    assert check_format("json", answer).problem
    assert time.monotonic() - begun < 30  # it must not hang


def test_deeply_nested_brackets_are_refused() -> None:
    # Whatever depth Python allows, code that gets the value may recurse one step deeper.
    for depth in (*range(1, DEEPEST + 10), *range(DEEPEST + 10, 1200, 3)):
        answer = '{"a":' + "[" * depth + "]" * depth + "}"
        assert (check_format("json", answer).problem is None) is (depth < DEEPEST)


def test_the_format_is_stated_in_the_system_prompt() -> None:
    user, system = Message("user", "Hi"), Message("system", "Be kind.")
    added, same = with_instruction((user,), "json")
    assert (added.role, same) == ("system", user)
    assert "JSON object" in added.content
    changed, same = with_instruction((system, user), PET)
    assert changed.content.startswith("Be kind.\n\n")
    assert changed.content.endswith(json.dumps(PET))
    assert same == user


def test_a_second_try_has_the_fault_in_its_last_turn() -> None:
    before, user = Message("system", "Be kind."), Message("user", "Which pet?")
    kept, last = with_correction((before, user), "x" * 5000, "it is not JSON")
    assert kept == before
    assert last.content.startswith("Which pet?\n\n")
    assert "it is not JSON" in last.content
    assert len(last.content) < 1300
    *history, last = with_correction((user, Message("tool", "21")), "no", "it is not JSON")
    assert [turn.role for turn in history] == ["user", "tool"]
    assert last.role == "user"
