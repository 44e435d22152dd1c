"""One answer: the text of a run, parsed into events, and held to the format that was asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from axproxy.engine.protocol import Gone
from axproxy.engine.runtime import PreparedT, RunResult
from axproxy.errors import ProxyError
from axproxy.messages import ChatRequest, Event, Finished, QueuePlace, Text, ToolCall, Usage
from axproxy.models.model import Model
from axproxy.output.instructions import with_call_correction
from axproxy.output.json_format import AnswerFormat, FormatCheck, check_format, with_correction
from axproxy.output.reader import AnswerParser

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")
Events = Generator[Event, None, Finished]  # the ending is returned, not yielded


@dataclass(frozen=True)
class ParsedRun:
    """One run of the runtime: its texts, what parses them, and how its result becomes an ending."""

    texts: Generator[str, None, RunResult]
    parser: AnswerParser
    ending: Callable[[RunResult], Finished]


@dataclass(frozen=True)
class AnswerJob(Generic[PreparedT]):
    """A request on its way through the queue."""

    model: Model
    request: ChatRequest
    prepared: PreparedT | None  # made later where the model, and so its window, is not there yet
    gone: Gone
    asked: float  # on the engine's clock

    def usage(self, admitted: float, now: float, result: RunResult) -> Usage:
        """Return the counts and times of the answer; `admitted` is when its turn began."""
        return Usage(
            prompt_tokens=result.prompt_tokens,
            completion_tokens=result.completion_tokens,
            total=now - self.asked,
            load=admitted - self.asked,
            prompt_eval=result.prompt_eval,
            eval=result.eval,
        )


Run = Callable[[ChatRequest], ParsedRun]


def checked_answer(request: ChatRequest, run: Run) -> Events:
    """Return the events of the answer; `run` begins one run of the runtime for a request.

    An answer that must call a tool, or have a format, is checked and tried once more.
    """
    if request.must_call:
        return _called(request, run)
    return with_format(request, run)


def with_format(request: ChatRequest, run: Run) -> Events:
    """Return the events of the answer, held to its format if it must have one.

    Text that must have a format waits until the run is over: a client must never get half of a
    first try and then the second.  Thinking and tool calls pass at once, and an empty text stands
    for each piece that waits.  An answer that misses the format twice is sent as it is, the better
    of the two, because a client may still make sense of it.
    """
    if request.format is None:
        return _Attempt(run(request), hold_text=False).events()
    return _formatted(request, request.format, run)


class _Attempt:
    """One run as events; with `hold_text` the text is kept back until it can be checked.

    With `until_call` a tool call releases it.
    """

    def __init__(self, run: ParsedRun, *, hold_text: bool, until_call: bool = False) -> None:
        self._run = run
        self._hold_text = hold_text
        self._until_call = until_call
        self._texts: list[str] = []
        self.calls_tools = False

    @property
    def text(self) -> str:
        """The text kept back so far."""
        return "".join(self._texts)

    def events(self) -> Events:
        """Yield the events, an empty text as a sign of life where the model's text gives none."""
        texts, parser = self._run.texts, self._run.parser
        try:
            while True:
                try:
                    text = next(texts)
                except StopIteration as end:
                    result: RunResult = end.value
                    break
                events = self._passed(parser.feed(text)) if text else []
                yield from events or (Text(""),)
            yield from self._passed(parser.finish())
        finally:
            texts.close()
        return self._run.ending(result)

    def _passed(self, events: list[Event]) -> list[Event]:
        if not self._hold_text:
            return events
        return [passed for event in events for passed in self._held(event)]

    def _held(self, event: Event) -> tuple[Event, ...]:
        released = self._until_call and self.calls_tools
        if isinstance(event, Text) and not released:
            self._texts.append(event.text)
            return (Text(""),)
        if isinstance(event, ToolCall) and not self.calls_tools:
            self.calls_tools = True
            if self._until_call and self._texts:
                return (Text(self.text), event)
        return (event,)


def _called(request: ChatRequest, run: Run) -> Events:
    """Return the events of an answer that must call a tool.

    Text waits until a call comes.  If none comes, the model is told so and tries once more; if that
    fails, too, the text of the first try is sent.
    """
    first = _Attempt(run(request), hold_text=True, until_call=True)
    finished = yield from first.events()
    if first.calls_tools:
        return finished
    if finished.reason == "stop":  # at its limit an answer would only be cut again
        log.info("an answer did not call a tool, as was asked for; trying once more")
        messages = with_call_correction(request.messages, first.text, request.tools)
        again = replace(request, messages=messages, think=False)
        second = None
        try:
            second = _Attempt(run(again), hold_text=True, until_call=True)
            second_finished = yield from second.events()
        except ProxyError as error:
            log.info("the second try failed: %s", error.message)
            if second and second.calls_tools:
                raise
        else:
            if second.calls_tools:
                return second_finished
            spent = replace(finished.usage, total=second_finished.usage.total)
            finished = replace(finished, usage=spent)
    text = first.text if request.format is None else check_format(request.format, first.text).text
    yield Text(text)
    return finished


def _formatted(request: ChatRequest, form: AnswerFormat, run: Run) -> Events:
    first = _Attempt(run(request), hold_text=True)
    finished = yield from first.events()
    if first.calls_tools:  # the text beside a call is not the answer
        yield Text(first.text)
        return finished
    check = check_format(form, first.text)
    # At its limit an answer would only be cut again; and a raw prompt is not ours to extend.
    if check.problem and finished.reason == "stop" and not request.raw:
        check, finished = yield from _second_try(request, form, run, first.text, (check, finished))
    yield Text(check.text)
    return finished


def _second_try(
    request: ChatRequest,
    form: AnswerFormat,
    run: Run,
    first_text: str,
    first: tuple[FormatCheck, Finished],
) -> Generator[Event, None, tuple[FormatCheck, Finished]]:
    """Return the better of the two answers, with its own counts and the time that both took."""
    log.info("an answer did not have the format that was asked for; trying once more")
    check, finished = first
    messages = with_correction(request.messages, first_text, check.problem or "")
    try:
        second = _Attempt(
            run(replace(request, messages=messages, think=False, tools=())), hold_text=True
        )
        second_finished = yield from second.events()
    except ProxyError as error:
        log.info("the second try failed: %s", error.message)
        return first
    better = check_format(form, second.text)
    if better.problem and check.is_json and not better.is_json:
        spent = replace(finished.usage, total=second_finished.usage.total)
        return check, replace(finished, usage=spent)
    return better, second_finished


def signs_of_life(
    steps: Generator[Callable[[], QueuePlace] | None, None, ResultT],
) -> Generator[Event, None, ResultT]:
    """Yield an empty text for each step of a wait, with its place; return the result."""
    try:
        while True:
            try:
                place = next(steps)
            except StopIteration as end:
                result: ResultT = end.value
                return result
            yield Text("", place)
    finally:
        steps.close()
