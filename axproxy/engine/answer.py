"""An answer held to the form that was asked for, with a second try where the first misses it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace

from axproxy.errors import ProxyError
from axproxy.messages import ChatRequest, Event, Finished, Text, ToolCall
from axproxy.output.json_format import AnswerFormat, FormatCheck, corrected, judge

log = logging.getLogger(__name__)

Events = Generator[Event, None, None]
Run = Callable[[ChatRequest], Events]


def with_format(request: ChatRequest, run: Run) -> Events:
    """The events of the answer; `run` makes those of one run for a request, the last one being
    `Finished`.

    Text that must have a form waits until the run is over, for a client must never get half of a
    first try and then the second; reasoning and tool calls pass at once, and an empty text stands
    for each piece that waits.  An answer that misses the form twice is sent as it is, the better
    of the two: somebody may still make sense of it.
    """
    if request.format is None:
        yield from run(request)
        return
    first = _Attempt()
    yield from first.events(run(request))
    if first.calls_tools:  # what is said beside a call is not the answer
        yield from (Text(first.text), first.finished)
        return
    verdict, finished = judge(request.format, first.text), first.finished
    # At its limit an answer would only be cut short again; and a raw prompt is not ours to extend.
    if verdict.problem and finished.reason == "stop" and not request.raw:
        verdict, finished = yield from _second_try(request, request.format, run, first, verdict)
    yield from (Text(verdict.text), finished)


class _Attempt:
    """The text of one run, kept back until it can be judged."""

    def __init__(self) -> None:
        self.text = ""
        self.calls_tools = False
        self.finished: Finished

    def events(self, run: Events) -> Events:
        with closing(run):
            for event in run:
                match event:
                    case Text():
                        self.text += event.text
                        yield Text("")
                    case Finished():
                        self.finished = event
                    case _:
                        self.calls_tools |= isinstance(event, ToolCall)
                        yield event


def _second_try(
    request: ChatRequest, form: AnswerFormat, run: Run, first: _Attempt, verdict: FormatCheck
) -> Generator[Event, None, tuple[FormatCheck, Finished]]:
    """The better of the two answers, with its own counts and the time that both took."""
    log.info("an answer did not have the form that was asked for; trying once more")
    messages = corrected(request.messages, first.text, verdict.problem or "")
    second = _Attempt()
    try:
        yield from second.events(run(replace(request, messages=messages, think=False, tools=())))
    except ProxyError as error:
        log.info("the second try failed: %s", error.message)
        return verdict, first.finished
    better = judge(form, second.text)
    if better.problem and verdict.is_json and not better.is_json:
        spent = replace(first.finished.usage, total=second.finished.usage.total)
        return verdict, replace(first.finished, usage=spent)
    return better, second.finished
