"""Answers held to a format: held back, checked, tried once more."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from axproxy.engine.answer import ParsedRun, checked_answer, with_format
from axproxy.engine.runtime import RunResult
from axproxy.errors import PromptTooLong, ProxyError, RuntimeGone
from axproxy.messages import ChatRequest, Event, Finished, Message, Text, Thinking, ToolCall
from axproxy.output.reader import AnswerParser
from tests.support.fakes import USAGE
from tests.support.generators import completed

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

    def __call__(self, request: ChatRequest) -> ParsedRun:
        self.requests.append(request)
        script = next(self._scripts)
        parsed = SimpleNamespace(feed=lambda at: [script[int(at)]], finish=list)
        return ParsedRun(self._play(script), parsed, lambda finished: finished)

    def _play(self, script: list[Event | ProxyError]) -> Generator[str, None, Finished]:
        try:
            for at, step in enumerate(script):
                if isinstance(step, ProxyError):
                    raise step
                if isinstance(step, Finished):
                    return step
                yield str(at)
        finally:
            self.closed += 1
        raise AssertionError("a script ends with Finished or an error")


def events_of(request: ChatRequest, runs: Runs) -> list[Any]:
    events, finished = completed(checked_answer(request, runs))
    return [*events, finished]


def visible_events(request: ChatRequest, runs: Runs) -> list[Any]:
    return [event for event in events_of(request, runs) if event != SILENCE]


def test_without_a_format_an_answer_passes_as_it_comes() -> None:
    script = [Text("Rex"), SILENCE, Text("!"), DONE]
    assert events_of(replace(ASKED, format=None), Runs(script)) == script


def test_thinking_streams_and_the_json_comes_in_one_piece() -> None:
    runs = Runs([Thinking("Hm"), Text("```json\n"), Text(REX), Text("\n```"), DONE])
    assert events_of(ASKED, runs) == [
        Thinking("Hm"),
        SILENCE,
        SILENCE,
        SILENCE,
        Text(REX),
        DONE,
    ]


def test_an_answer_that_misses_is_tried_once_more_without_thinking() -> None:
    runs = Runs([Thinking("Hm"), Text("Rex"), DONE], [Text(REX), LATER])
    assert visible_events(ASKED, runs) == [Thinking("Hm"), Text(REX), LATER]
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
    text, finished = visible_events(ASKED, runs)
    assert text == Text(sent)
    assert finished.usage.total == 9.0
    assert (finished == LATER) == (sent == second)
    assert len(runs.requests) == 2


@pytest.mark.parametrize("error", [PromptTooLong("no room"), RuntimeGone("it died")])
def test_a_second_try_that_fails_leaves_the_first(error: ProxyError) -> None:
    assert visible_events(ASKED, Runs([Text("Rex"), DONE], [Text("{"), error])) == [
        Text("Rex"),
        DONE,
    ]


def test_a_first_try_that_fails_is_an_error() -> None:
    with pytest.raises(RuntimeGone):
        visible_events(ASKED, Runs([Text("{"), RuntimeGone("it died")]))


@pytest.mark.parametrize(
    "request_", [replace(ASKED, raw=True), replace(ASKED, format="json", raw=True)]
)
def test_a_raw_prompt_is_not_tried_again(request_: ChatRequest) -> None:
    assert visible_events(request_, Runs([Text("Rex"), DONE])) == [Text("Rex"), DONE]


def test_an_answer_cut_at_its_limit_is_not_tried_again() -> None:
    cut = Finished("length", USAGE)
    assert visible_events(ASKED, Runs([Text('{"name'), cut])) == [Text('{"name'), cut]


def test_an_answer_that_calls_a_tool_need_not_have_the_format() -> None:
    call = ToolCall("f", {}, "call_1")
    assert visible_events(ASKED, Runs([Text("One moment."), call, DONE])) == [
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


def test_text_that_the_parser_holds_back_is_a_sign_of_life() -> None:
    def texts() -> Generator[str, None, RunResult]:
        yield "<thi"
        yield "nk>Hm</think>"
        yield "Rex"
        return RunResult("stop", 1, 2, 0.1, 0.2)

    parser = AnswerParser(inside=False, think=True, tools=False)
    run = ParsedRun(texts(), parser, lambda result: Finished(result.reason, USAGE))
    plain = replace(ASKED, format=None)

    assert completed(with_format(plain, lambda _request: run)) == (
        [SILENCE, Thinking("Hm"), Text("Rex")],
        DONE,
    )


TOOL = {"type": "function", "function": {"name": "look_up"}}
FORCED = replace(ASKED, format=None, tools=(TOOL,), must_call=True)
CALL = ToolCall("look_up", {}, "call_1")
PROSE = Text("I would rather talk.")


def test_an_answer_that_must_call_and_does_passes_in_its_order() -> None:
    runs = Runs([Thinking("Hm"), Text("One "), Text("moment."), CALL, Text("There."), CALL, DONE])
    assert visible_events(FORCED, runs) == [
        Thinking("Hm"),
        Text("One moment."),
        CALL,
        Text("There."),
        CALL,
        DONE,
    ]


def test_an_answer_without_the_call_that_must_come_is_tried_once_more_without_thinking() -> None:
    runs = Runs([Thinking("Hm"), PROSE, DONE], [CALL, LATER])
    assert visible_events(FORCED, runs) == [Thinking("Hm"), CALL, LATER]
    again = runs.requests[1]
    assert (again.think, again.tools, again.must_call) == (False, (TOOL,), True)
    assert again.messages[-1].content.startswith("Which pet?")
    assert "I would rather talk." in again.messages[-1].content
    assert "only with a call of the function look_up" in again.messages[-1].content


def test_after_two_tries_without_a_call_the_first_is_sent_with_the_time_of_both() -> None:
    *events, finished = visible_events(FORCED, Runs([PROSE, DONE], [Text("No."), LATER]))
    assert events == [PROSE]
    assert finished == replace(DONE, usage=replace(USAGE, total=9.0))


def test_an_answer_without_a_call_that_its_limit_has_cut_is_not_tried_again() -> None:
    cut = Finished("length", USAGE)
    assert visible_events(FORCED, Runs([PROSE, cut])) == [PROSE, cut]


@pytest.mark.parametrize("error", [PromptTooLong("no room"), RuntimeGone("it died")])
def test_a_second_try_for_a_call_that_fails_leaves_the_first(error: ProxyError) -> None:
    assert visible_events(FORCED, Runs([PROSE, DONE], [Text("Hm"), error])) == [PROSE, DONE]


def test_a_second_try_that_fails_after_its_call_is_an_error() -> None:
    with pytest.raises(RuntimeGone):
        visible_events(FORCED, Runs([PROSE, DONE], [CALL, RuntimeGone("it died")]))


def test_prose_in_place_of_a_call_still_has_the_format_that_was_asked_for() -> None:
    both = replace(FORCED, format=SCHEMA)
    text = Text(f"```json\n{REX}\n```")
    assert visible_events(both, Runs([text, DONE], [PROSE, LATER]))[0] == Text(REX)
