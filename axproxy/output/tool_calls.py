"""Finds tool calls in an answer that comes in pieces, in the form that the Qwen family was taught:

<tool_call>
{"name": "weather", "arguments": {"city": "Paris"}}
</tool_call>
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Callable, Mapping
from typing import Any

from axproxy.messages import Text, ToolCall
from axproxy.output import model_json
from axproxy.output.limits import unfinished
from axproxy.output.nesting import Nesting, NoValue, end_of

OPEN, CLOSE = "<tool_call>", "</tool_call>"

_LETTERS = string.ascii_lowercase + string.digits
_SURPLUS = re.compile(r"[ \t\r\n}\]]*")  # small models close one bracket too many
_BLANKS = re.compile(r"\s*")
_TRIES = 10  # calls without an end, one inside the other; each is read once more to its end


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
    bracket has come, whether or not the tag is closed; blanks around calls are dropped.  Brackets
    that are missing before the closing tag are added, as small models forget them.  Text that
    begins like a call and turns out to be none stays text.
    """

    def __init__(self, make_id: Callable[[], str] = new_call_id) -> None:
        self._make_id = make_id
        self._held = ""
        self._at = 0  # where the unread part of `_held` begins; the part before is done with
        self._lead: list[str] = []  # blanks and tag before a call's body, in case it is no call
        self._body_parts: list[str] = []  # of the body, as far as it has come
        self._nesting = Nesting()
        self._events: list[Text | ToolCall] = []
        # A step reads what it can of `_held` and returns the step that reads the rest, or None when
        # it needs more text.
        self._step: Callable[[], Any] = self._text

    def feed(self, text: str) -> list[Text | ToolCall]:
        self._held += text
        self._read()
        return self._take_events()

    def finish(self) -> list[Text | ToolCall]:
        """Return the events of the text held back; there is no more text."""
        tries = 0
        while self._step in (self._body, self._short_body):
            self._body_parts.append(self._take(len(self._held)))
            body = "".join(self._body_parts)
            if self._nesting.missing(body) == "}" and self._emit_calls(body + "}"):
                return self._take_events()
            # A string without an end has taken the rest, and another call may be in it.
            before, closed, rest = body.partition(CLOSE)
            tries += 1
            self._emit_text("".join(self._lead) + before + closed)
            self._lead, self._held, self._at = [], rest, 0
            self._step = self._text
            if tries <= _TRIES:
                self._read()
        # After a complete call, only the beginning of its closing tag may be left.
        rest = "".join(self._lead) + self._held[self._at :]
        if not (self._step == self._after and CLOSE.startswith(rest)):
            self._emit_text(rest)
        self._lead, self._held, self._at = [], "", 0
        return self._take_events()

    def _read(self) -> None:
        while self._at < len(self._held) and (step := self._step()):
            self._step = step
        self._held, self._at = self._held[self._at :], 0

    def _text(self) -> Any:
        found = self._held.find(OPEN, self._at)
        if found >= 0:
            self._take_text(found)
            self._at += len(OPEN)
            self._lead.append(OPEN)
            return self._enter()
        self._take_text(len(self._held) - unfinished(self._held[-len(OPEN) :], (OPEN,)))
        return None

    def _take_text(self, end: int) -> None:
        """Emit text up to `end`, but for the blanks at its end: before a call they are dropped."""
        before = self._take(end)
        text = before.rstrip()
        if text:
            self._emit_text("".join(self._lead) + text)
            self._lead = []
        self._lead.append(before[len(text) :])

    def _enter(self) -> Any:
        self._body_parts = []
        self._nesting = Nesting()
        return self._body

    def _body(self) -> Any:
        try:
            end = self._nesting.end_of_value(self._held, self._at)
        except NoValue as no_value:
            self._body_parts.append(self._take(no_value.at))
            return self._short_body
        self._body_parts.append(self._take(len(self._held) if end is None else end))
        if end is None:
            return None
        return self._after if self._emit_calls("".join(self._body_parts)) else self._back_to_text()

    def _short_body(self) -> Any:
        """Read on where no value can go on: perhaps the tag is closed, brackets too early."""
        if self._held.startswith(CLOSE, self._at):
            body = "".join(self._body_parts)
            if self._emit_calls(body + self._nesting.missing(body)):
                self._at += len(CLOSE)
                return self._outside
        elif self._may_become_close():
            return None
        return self._back_to_text()

    def _back_to_text(self) -> Any:
        self._emit_text("".join([*self._lead, *self._body_parts]))
        self._lead = []
        return self._text

    def _after(self) -> Any:
        """Read on after a call, inside its tag: more calls may come, or the tag ends."""
        self._at = end_of(_SURPLUS, self._held, self._at)
        if self._held.startswith(CLOSE, self._at):
            self._at += len(CLOSE)
            return self._outside
        if self._may_become_close():
            return None
        return self._enter() if self._held[self._at] in "{[" else self._outside

    def _outside(self) -> Any:
        self._at = end_of(_BLANKS, self._held, self._at)
        return self._text if self._at < len(self._held) else None

    def _may_become_close(self) -> bool:
        rest = self._held[self._at : self._at + len(CLOSE)]
        return CLOSE.startswith(rest) and rest != CLOSE

    def _take(self, end: int) -> str:
        text, self._at = self._held[self._at : end], end
        return text

    def _emit_calls(self, body: str) -> bool:
        try:
            calls = _calls(body)
        except ValueError:
            return False
        self._events += [ToolCall(name, given, self._make_id()) for name, given in calls]
        self._lead, self._body_parts = [], []
        return True

    def _emit_text(self, text: str) -> None:
        if text:
            self._events.append(Text(text))

    def _take_events(self) -> list[Text | ToolCall]:
        events, self._events = self._events, []
        return events


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
