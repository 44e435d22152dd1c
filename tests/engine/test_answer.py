"""Answers held to a form: waited for, judged, tried once more."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from axproxy.engine.answer import with_format
from axproxy.engine.heartbeat import paced
from axproxy.errors import PromptTooLong, ProxyError, RuntimeGone
from axproxy.messages import ChatRequest, Event, Finished, Message, Text, Thinking, ToolCall
from tests.support.fakes import USAGE

SCHEMA = {"type": "object", "required": ["name"]}
REX = '{"name": "Rex"}'
DONE = Finished("stop", USAGE)
LATER = Finished("stop", replace(USAGE, completion_tokens=7, total=9.0))
SILENCE = Text("")
ASKED = ChatRequest((Message("user", "Which pet?"),), format=SCHEMA, think=True)


class Runs:
    """Plays one script after the other and remembers the requests."""

    def __init__(self, *scripts: list[Event | ProxyError]) -> None:
        self.requests: list[ChatRequest] = []
        self.closed = 0
        self._scripts = iter(scripts)

    def __call__(self, request: ChatRequest) -> Generator[Event, None, None]:
        self.requests.append(request)
        script = next(self._scripts)
        return self._play(script)

    def _play(self, script: list[Event | ProxyError]) -> Generator[Event, None, None]:
        try:
            for step in script:
                if isinstance(step, ProxyError):
                    raise step
                yield step
        finally:
            self.closed += 1


def told(request: ChatRequest, runs: Runs) -> list[Any]:
    return [event for event in with_format(request, runs) if event != SILENCE]


def test_without_a_form_an_answer_passes_as_it_comes() -> None:
    script = [Text("Rex"), SILENCE, Text("!"), DONE]
    assert list(with_format(replace(ASKED, format=None), Runs(script))) == script


def test_thinking_streams_and_the_json_comes_in_one_piece() -> None:
    runs = Runs([Thinking("Hm"), Text("```json\n"), Text(REX), Text("\n```"), DONE])
    assert list(with_format(ASKED, runs)) == [
        Thinking("Hm"),
        SILENCE,
        SILENCE,
        SILENCE,
        Text(REX),
        DONE,
    ]


def test_an_answer_that_misses_is_tried_once_more_without_thinking() -> None:
    runs = Runs([Thinking("Hm"), Text("Rex"), DONE], [Text(REX), LATER])
    assert told(ASKED, runs) == [Thinking("Hm"), Text(REX), LATER]
    again = runs.requests[1]
    assert again.think is False
    assert again.format == SCHEMA
    assert "Which pet?" in again.messages[-1].content
    assert "it is not JSON" in again.messages[-1].content


@pytest.mark.parametrize(
    ("first", "second", "sent"),
    [
        ("Rex", "Still Rex", "Still Rex"),
        ("Rex", '{"nam": 1}', '{"nam": 1}'),
        ('{"nam": 1}', "Rex", '{"nam": 1}'),
        ('{"nam": 1}', '{"nam": 2}', '{"nam": 2}'),
    ],
)
def test_an_answer_that_misses_twice_is_sent_all_the_same(
    first: str, second: str, sent: str
) -> None:
    runs = Runs([Text(first), DONE], [Text(second), LATER])
    text, finished = told(ASKED, runs)
    assert text == Text(sent)
    assert finished.usage.total == 9.0
    assert (finished == LATER) == (sent == second)
    assert len(runs.requests) == 2


@pytest.mark.parametrize("error", [PromptTooLong("no room"), RuntimeGone("it died")])
def test_a_second_try_that_fails_leaves_the_first(error: ProxyError) -> None:
    assert told(ASKED, Runs([Text("Rex"), DONE], [Text("{"), error])) == [Text("Rex"), DONE]


def test_a_first_try_that_fails_is_an_error() -> None:
    with pytest.raises(RuntimeGone):
        told(ASKED, Runs([Text("{"), RuntimeGone("it died")]))


@pytest.mark.parametrize(
    "request_", [replace(ASKED, raw=True), replace(ASKED, format="json", raw=True)]
)
def test_a_raw_prompt_is_not_tried_again(request_: ChatRequest) -> None:
    assert told(request_, Runs([Text("Rex"), DONE])) == [Text("Rex"), DONE]


def test_an_answer_cut_at_its_limit_is_not_tried_again() -> None:
    cut = Finished("length", USAGE)
    assert told(ASKED, Runs([Text('{"name'), cut])) == [Text('{"name'), cut]


def test_whoever_calls_a_tool_need_not_answer_yet() -> None:
    call = ToolCall("f", {}, "call_1")
    assert told(ASKED, Runs([Text("One moment."), call, DONE])) == [
        call,
        Text("One moment."),
        DONE,
    ]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_closing_it_closes_the_run(steps: int) -> None:
    runs = Runs([Text("Rex"), DONE], [Text(REX), Text(" "), LATER])
    events = with_format(ASKED, runs)
    for _ in range(steps):
        next(events)
    events.close()
    assert runs.closed == len(runs.requests)


def test_signs_of_life_are_seldom_and_never_missing() -> None:
    now = 0.0
    sent: list[tuple[float, Event]] = []

    def source() -> Generator[Event, None, None]:
        nonlocal now
        for _ in range(40):
            now += 1
            yield SILENCE
        yield Text("a")
        now += 10
        yield SILENCE

    for event in paced(source(), lambda: now):
        sent.append((now, event))
    assert sent == [
        (9, SILENCE),
        (18, SILENCE),
        (27, SILENCE),
        (36, SILENCE),
        (40, Text("a")),
        (50, SILENCE),
    ]


def test_closing_the_paced_closes_the_source() -> None:
    runs = Runs([Text("a"), DONE])
    events = paced(runs(ASKED), lambda: 0.0)
    next(events)
    events.close()
    assert runs.closed == 1
