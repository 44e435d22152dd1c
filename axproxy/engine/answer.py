"""One answer: the text of a run, parsed into events, and held to the format that was asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from axproxy.engine.runtime import RunResult
from axproxy.errors import ProxyError
from axproxy.messages import ChatRequest, Event, Finished, Text, ToolCall
from axproxy.output.json_format import AnswerFormat, FormatCheck, check_format, with_correction
from axproxy.output.reader import AnswerParser

log = logging.getLogger(__name__)

Events = Generator[Event, None, Finished]  # the ending is returned, not yielded


@dataclass(frozen=True)
class ParsedRun:
    """One run of the runtime: its texts, what parses them, and how its result becomes an ending."""

    texts: Generator[str, None, RunResult]
    parser: AnswerParser
    ending: Callable[[RunResult], Finished]


Run = Callable[[ChatRequest], ParsedRun]


def with_format(request: ChatRequest, run: Run) -> Events:
    """Return the events of the answer; `run` begins one run of the runtime for a request.

    Text that must have a format waits until the run is over: a client must never get half of a
    first try and then the second.  Thinking and tool calls pass at once, and an empty text stands
    for each piece that waits.  An answer that misses the format twice is sent as it is, the better
    of the two, because a client may still make sense of it.
    """
    if request.format is None:
        return _Attempt(run(request), hold_text=False).events()
    return _formatted(request, request.format, run)


class _Attempt:
    """One run as events; with `hold_text` the text is kept back until it can be checked."""

    def __init__(self, run: ParsedRun, *, hold_text: bool) -> None:
        self._run = run
        self._hold_text = hold_text
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
                yield from self._passed(parser.feed(text)) or (Text(""),)
            yield from self._passed(parser.finish())
        finally:
            texts.close()
        return self._run.ending(result)

    def _passed(self, events: list[Event]) -> list[Event]:
        return [self._held(event) for event in events] if self._hold_text else events

    def _held(self, event: Event) -> Event:
        if isinstance(event, Text):
            self._texts.append(event.text)
            return Text("")
        self.calls_tools |= isinstance(event, ToolCall)
        return event


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
