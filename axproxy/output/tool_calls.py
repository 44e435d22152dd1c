"""Tool calls found in an answer that comes in pieces, in the form that the Qwen family was taught:

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

Said = Text | ToolCall

_LETTERS = string.ascii_lowercase + string.digits
_SURPLUS = " \t\r\n}]"  # small models close one bracket too many


def new_call_id() -> str:
    """An id in Ollama's form, which nobody else has."""
    return "call_" + "".join(secrets.choice(_LETTERS) for _ in range(8))


def arguments_of(value: Any) -> Mapping[str, Any]:
    """A call's arguments, given as an object or as a string that holds one.

    Raises `ValueError` where they are something else.
    """
    if isinstance(value, str):
        value = model_json.read(value) if value.strip() else None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("the arguments are no object")
    return value


class ToolCallParser:
    """Feed text, then `finish`; the events are the same however the text was cut.

    A call is told as soon as its last bracket is there, whether or not the tag is closed; blanks
    around calls vanish.  What begins like a call and turns out to be none comes back as text.
    """

    def __init__(self, make_id: Callable[[], str] = new_call_id) -> None:
        self._make_id = make_id
        self._held = ""
        self._lead = ""  # what stood before the call's body, should it have to be given back
        self._nesting = _Nesting()
        self._said: list[Said] = []
        # A step takes what it can from `_held` and answers the step that goes on with the rest, or
        # None until more text has come.
        self._step: Callable[[], Any] = self._text

    def feed(self, text: str) -> list[Said]:
        self._held += text
        self._read()
        return self._told()

    def finish(self) -> list[Said]:
        """What was held back, for there is no more."""
        while self._step == self._body:
            # A string without an end has swallowed the rest, where another call may be.
            _, closed, rest = self._held.partition(CLOSE)
            self._step = self._give_back(len(self._held) - len(rest) if closed else None)
            self._read()
        # All that a closed call may leave is the beginning of the tag that closes it.
        if not (self._step == self._after and CLOSE.startswith(self._held)):
            self._say(self._held)
        self._held = ""
        return self._told()

    def _read(self) -> None:
        while self._held and (step := self._step()):
            self._step = step

    def _text(self) -> Any:
        before, tag, rest = self._held.partition(OPEN)
        if tag:
            said = before.rstrip()
            self._say(said)
            self._held = rest
            return self._enter(before[len(said) :] + tag)
        # Blanks wait as well: before a call they vanish.
        safe = len(self._held[: len(self._held) - unfinished(self._held, (OPEN,))].rstrip())
        self._say(self._held[:safe])
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
            return self._give_back(self._nesting.read)
        if end is None:
            return None
        try:
            calls = _calls(self._held[:end])
        except ValueError:
            return self._give_back(end)
        self._said += [ToolCall(name, given, self._make_id()) for name, given in calls]
        self._held = self._held[end:]
        return self._after

    def _give_back(self, end: int | None) -> Any:
        self._say(self._lead + self._held[:end])
        self._held = "" if end is None else self._held[end:]
        return self._text

    def _after(self) -> Any:
        """Behind a call, within its tag: more calls may come, or the tag ends."""
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

    def _say(self, text: str) -> None:
        if text:
            self._said.append(Text(text))

    def _told(self) -> list[Said]:
        said, self._said = self._said, []
        return said


class _Nesting:
    """Finds the end of an object or a list by its brackets, each character looked at once."""

    def __init__(self) -> None:
        self.read = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def end_of_value(self, text: str) -> int | None:
        """Where the value ends; None until it does.  `text` begins as it did the last time.

        Raises `ValueError` at a character, number `read`, that no value has there.
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
    """Names and arguments of one call, or of a list of them.  Raises `ValueError`."""
    value = model_json.read(text)
    if value == []:
        raise ValueError("the list is empty")
    return [_call(entry) for entry in (value if isinstance(value, list) else [value])]


def _call(entry: Any) -> tuple[str, Mapping[str, Any]]:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        raise ValueError("the call has no name")
    return name, arguments_of(entry.get("arguments", entry.get("parameters")))
