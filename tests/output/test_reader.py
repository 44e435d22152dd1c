"""Thinking, text and calls are parsed from one stream, in order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.control_tokens import ESCAPE
from axproxy.messages import Event, Text, Thinking, ToolCall
from axproxy.output.reader import AnswerParser, inside_thinking

CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
TURN = f"<think>\nI need f, not <tool_call>.\n</think>\n\nOne moment.\n{CALL}\n{CALL}"


def read(pieces: list[str], prompt: str = "", think: bool = True, tools: bool = True) -> list[Any]:
    reader = AnswerParser(
        inside=inside_thinking(prompt), think=think, tools=tools, make_id=lambda: "id"
    )
    events = [event for piece in pieces for event in reader.feed(piece)] + reader.finish()
    merged: list[Event] = []
    for event in events:
        last = merged[-1] if merged else None
        if isinstance(event, Text | Thinking) and type(last) is type(event):
            merged[-1] = type(event)(last.text + event.text)
        else:
            merged.append(event)
    return merged


F = ToolCall("f", {"a": 1}, "id")


def test_an_answer_is_thinking_then_text_then_calls() -> None:
    assert read([TURN]) == [
        Thinking("I need f, not <tool_call>.\n"),
        Text("One moment."),
        F,
        F,
    ]


def test_without_tools_a_call_is_text() -> None:
    assert read([CALL], tools=False) == [Text(CALL)]


@pytest.mark.parametrize("think", [True, False])
def test_calls_are_found_whether_or_not_the_model_thinks(think: bool) -> None:
    assert read([f"<think>\n\n</think>\n\n{CALL}"], think=think) == [F]


@pytest.mark.parametrize("prompt", ["…<think>\n", "<think>", f"<{ESCAPE}think>"])
def test_a_prompt_that_opens_the_thinking_is_noticed(prompt: str) -> None:
    assert read(["Hm.</think>Hi"], prompt) == [Thinking("Hm."), Text("Hi")]
    assert read(["Hm.</think>Hi"], prompt, think=False) == [Text("Hi")]


@pytest.mark.parametrize("prompt", ["", "<think> and", "<think>\n\n</think>\n\n"])
def test_other_prompts_do_not_open_it(prompt: str) -> None:
    assert read(["Hm.</think>Hi"], prompt) == [Text("Hm.</think>Hi")]


@given(st.lists(st.integers(1, 20)), st.booleans(), st.booleans())
def test_any_cut_gives_the_same(sizes: list[int], think: bool, tools: bool) -> None:
    pieces, rest = [], TURN + " Done."
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    assert read([*pieces, rest], think=think, tools=tools) == read(
        [TURN + " Done."], think=think, tools=tools
    )


def test_thinking_that_a_model_begins_unasked_is_apart_or_dropped() -> None:
    answer = "<think>\nHm\n</think>\n\nParis"
    for think, expected in ((True, [Thinking("Hm\n"), Text("Paris")]), (False, [Text("Paris")])):
        parser = AnswerParser(inside=False, think=think, tools=False, thinks=True)
        assert parser.feed(answer) + parser.finish() == expected
