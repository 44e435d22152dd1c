"""Finds tool calls in an answer that comes in pieces, in the form that the Qwen family was taught:

<tool_call>
{"name": "weather", "arguments": {"city": "Paris"}}
</tool_call>
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping
from typing import Any

from axproxy.messages import Text, ToolCall
from axproxy.output import model_json
from axproxy.output.limits import unfinished

OPEN, CLOSE = "<tool_call>", "</tool_call>"

_LETTERS = string.ascii_lowercase + string.digits
_SURPLUS = " \t\r\n}]"  # small models close one bracket too many


def new_call_id() -> str:
    """Return a random id in Ollama's form."""
    return "call_" + "".join(secrets.choice(_LETTERS) for _ in range(8))


def arguments_of(value: Any) -> Mapping[str, Any]:
    """Return a call's arguments; `value` is an object, or a string that holds an object.

    Raises `ValueError` for anything else.
    """
    if isinstance(value, str):
        value = model_json.read(value) if value.strip() else None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("the arguments are no object")
    return value


class ToolCallParser:
    """Turns text into events: call `feed` for each piece, then `finish`.

    The events are the same however the text was cut.  A call becomes an event as soon as its last
    bracket has come, whether or not the tag is closed; blanks around calls are dropped.  Text that
    begins like a call and turns out to be none stays text.
    """

    def __init__(self, make_id: Callable[[], str] = new_call_id) -> None:
        self._make_id = make_id
        self._held = ""
        self._lead = ""  # the text before the call's body, in case it was no call
        self._nesting = _Nesting()
        self._events: list[Text | ToolCall] = []
        # A step consumes what it can of `_held` and returns the step that takes the rest, or None
        # when it needs more text.
        self._step: Callable[[], Any] = self._text

    def feed(self, text: str) -> list[Text | ToolCall]:
        self._held += text
        self._read()
        return self._take_events()

    def finish(self) -> list[Text | ToolCall]:
        """Return the events of the text held back; there is no more text."""
        while self._step == self._body:
            # A string without an end has taken the rest, and another call may be in it.
            _, closed, rest = self._held.partition(CLOSE)
            self._step = self._back_to_text(len(self._held) - len(rest) if closed else None)
            self._read()
        # After a complete call, only the beginning of its closing tag may be left.
        if not (self._step == self._after and CLOSE.startswith(self._held)):
            self._emit_text(self._held)
        self._held = ""
        return self._take_events()

    def _read(self) -> None:
        while self._held and (step := self._step()):
            self._step = step

    def _text(self) -> Any:
        before, tag, rest = self._held.partition(OPEN)
        if tag:
            text = before.rstrip()
            self._emit_text(text)
            self._held = rest
            return self._enter(before[len(text) :] + tag)
        # Blanks are held back as well: before a call they are dropped.
        safe = len(self._held[: len(self._held) - unfinished(self._held, (OPEN,))].rstrip())
        self._emit_text(self._held[:safe])
        self._held = self._held[safe:]
        return None

    def _enter(self, lead: str) -> Any:
        self._lead = lead
        self._nesting = _Nesting()
        return self._body

    def _body(self) -> Any:
        try:
            end = self._nesting.end_of_value(self._held)
        except ValueError:
            return self._back_to_text(self._nesting.read)
        if end is None:
            return None
        try:
            calls = _calls(self._held[:end])
        except ValueError:
            return self._back_to_text(end)
        self._events += [ToolCall(name, given, self._make_id()) for name, given in calls]
        self._held = self._held[end:]
        return self._after

    def _back_to_text(self, end: int | None) -> Any:
        self._emit_text(self._lead + self._held[:end])
        self._held = "" if end is None else self._held[end:]
        return self._text

    def _after(self) -> Any:
        """Read on after a call, inside its tag: more calls may come, or the tag ends."""
        self._held = self._held.lstrip(_SURPLUS)
        if self._held.startswith(CLOSE):
            self._held = self._held[len(CLOSE) :]
            return self._outside
        if CLOSE.startswith(self._held):
            return None
        return self._enter("") if self._held[0] in "{[" else self._outside

    def _outside(self) -> Any:
        self._held = self._held.lstrip()
        return self._text if self._held else None

    def _emit_text(self, text: str) -> None:
        if text:
            self._events.append(Text(text))

    def _take_events(self) -> list[Text | ToolCall]:
        events, self._events = self._events, []
        return events


class _Nesting:
    """Finds the end of an object or a list by its brackets; reads each character once."""

    def __init__(self) -> None:
        self.read = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def end_of_value(self, text: str) -> int | None:
        """Return where the value ends, None if it does not end in `text`.

        The next call must begin with the same text.  Raises `ValueError` when the character number
        `read` cannot be part of a value.
        """
        while self.read < len(text):
            character = text[self.read]
            if self._escaped:
                self._escaped = False
            elif self._in_string:
                self._escaped = character == "\\"
                self._in_string = character != '"'
            elif character in "{[":
                self._depth += 1
            elif character == "<" or (self._depth == 0 and not character.isspace()):
                raise ValueError("not a value")
            elif character in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self.read += 1
                    return self.read
            elif character == '"':
                self._in_string = True
            self.read += 1
        return None


def _calls(text: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return names and arguments of one call, or of a list of calls.  Raises `ValueError`."""
    value = model_json.read(text)
    if value == []:
        raise ValueError("the list is empty")
    return [_call(entry) for entry in (value if isinstance(value, list) else [value])]


def _call(entry: Any) -> tuple[str, Mapping[str, Any]]:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        raise ValueError("the call has no name")
    return name, arguments_of(entry.get("arguments", entry.get("parameters")))
