"""Parses the text of an answer into thinking, text and tool calls."""

from __future__ import annotations

from collections.abc import Callable

from axproxy.control_tokens import ESCAPE
from axproxy.messages import Event, Text, Thinking, ToolCall
from axproxy.output import thinking
from axproxy.output.thinking import ThinkingParser
from axproxy.output.tool_calls import ToolCallParser, new_call_id


def inside_thinking(prompt: str) -> bool:
    """Return whether a model that goes on from `prompt` is inside a thinking block."""
    return prompt.replace(ESCAPE, "").rstrip().endswith(thinking.OPEN)


def thinking_closed(prompt: str) -> bool:
    """Return whether `prompt` asks the model not to think, by a block that is closed already."""
    return prompt.replace(ESCAPE, "").rstrip().endswith(thinking.CLOSE)


class AnswerParser:
    """Parses the text of one run: `feed` its pieces, then `finish`.

    `inside` is true if the prompt has opened a thinking block, `think` if thinking shall become
    events, `thinks` if the model may think unasked.  With `tools` false no tool calls are looked
    for: without tools on offer, text in their form is text like any other.
    """

    def __init__(
        self,
        *,
        inside: bool,
        think: bool,
        tools: bool,
        thinks: bool = False,
        make_id: Callable[[], str] = new_call_id,
    ) -> None:
        self._thinking = ThinkingParser(wanted=think, inside=inside, unasked=thinks)
        self._calls = ToolCallParser(make_id) if tools else None
        self.calls_tools = False  # whether a call has been found

    def feed(self, text: str) -> list[Event]:
        return self._without_calls(self._thinking.feed(text))

    def finish(self) -> list[Event]:
        """Return the events of the text held back; the run has ended."""
        rest = self._without_calls(self._thinking.finish())
        rest += self._calls.finish() if self._calls else []
        return self._noted(rest)

    def _without_calls(self, parsed: list[Text | Thinking]) -> list[Event]:
        events: list[Event] = []
        for event in parsed:
            if self._calls and isinstance(event, Text):
                events += self._calls.feed(event.text)
            else:
                events.append(event)
        return self._noted(events)

    def _noted(self, events: list[Event]) -> list[Event]:
        self.calls_tools = self.calls_tools or any(isinstance(each, ToolCall) for each in events)
        return events
