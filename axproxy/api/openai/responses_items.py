"""Output items of `/v1/responses`, and the events that announce them in a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from axproxy.api.gojson.decode import compact
from axproxy.messages import ToolCall

ServerEvent = tuple[str, dict[str, Any]]  # an event's type, and its other fields
Ending = Literal["completed", "incomplete"]  # the status of an item, whole or cut at the limit


def reasoning_item(id_: str, text: str, ending: Ending = "completed") -> dict[str, Any]:
    item = {
        "id": id_,
        "type": "reasoning",
        "summary": [_summary_part(text)],
        # Clients that do not keep summaries send this back; we do not encrypt it.
        "encrypted_content": text,
    }
    return item if ending == "completed" else {**item, "status": ending}


def message_item(id_: str, text: str, ending: Ending = "completed") -> dict[str, Any]:
    return _message(id_, ending, [_text_part(text)])


def call_item(id_: str, call: ToolCall) -> dict[str, Any]:
    return _call(id_, call, "completed", compact(call.arguments).decode())


def call_events(id_: str, at: int, call: ToolCall) -> Iterator[ServerEvent]:
    """Yield the events of a whole tool call; `at` is the item's place in the output."""
    place = {"item_id": id_, "output_index": at}
    arguments = compact(call.arguments).decode()
    yield _added(at, _call(id_, call, "in_progress", ""))
    yield "response.function_call_arguments.delta", {**place, "delta": arguments}
    yield "response.function_call_arguments.done", {**place, "arguments": arguments}
    yield _done(at, call_item(id_, call))


@dataclass
class GrowingReasoning:
    """A reasoning item that is being streamed; `at` is its place in the output."""

    id: str
    at: int
    _pieces: list[str] = field(default_factory=list)

    def whole(self, ending: Ending = "completed") -> dict[str, Any]:
        """Return the item with all pieces so far."""
        return reasoning_item(self.id, "".join(self._pieces), ending)

    def begin(self) -> Iterator[ServerEvent]:
        yield _added(self.at, {"id": self.id, "type": "reasoning", "summary": []})
        part = {**self._place(), "part": _summary_part("")}
        yield "response.reasoning_summary_part.added", part

    def grow(self, piece: str) -> ServerEvent:
        """Add `piece` to the item, and return the event that sends it."""
        self._pieces.append(piece)
        return "response.reasoning_summary_text.delta", {**self._place(), "delta": piece}

    def end(self, ending: Ending = "completed") -> Iterator[ServerEvent]:
        text = "".join(self._pieces)
        yield "response.reasoning_summary_text.done", {**self._place(), "text": text}
        part = {**self._place(), "part": _summary_part(text)}
        yield "response.reasoning_summary_part.done", part
        yield _done(self.at, self.whole(ending))

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.at, "summary_index": 0}


@dataclass
class GrowingMessage:
    """A message item that is being streamed; `at` is its place in the output."""

    id: str
    at: int
    _pieces: list[str] = field(default_factory=list)

    def whole(self, ending: Ending = "completed") -> dict[str, Any]:
        """Return the item with all pieces so far."""
        return message_item(self.id, "".join(self._pieces), ending)

    def begin(self) -> Iterator[ServerEvent]:
        yield _added(self.at, _message(self.id, "in_progress", []))
        yield "response.content_part.added", {**self._place(), "part": _text_part("")}

    def grow(self, piece: str) -> ServerEvent:
        """Add `piece` to the item, and return the event that sends it."""
        self._pieces.append(piece)
        return "response.output_text.delta", {**self._place(), "delta": piece, "logprobs": []}

    def end(self, ending: Ending = "completed") -> Iterator[ServerEvent]:
        text = "".join(self._pieces)
        yield "response.output_text.done", {**self._place(), "text": text, "logprobs": []}
        yield "response.content_part.done", {**self._place(), "part": _text_part(text)}
        yield _done(self.at, self.whole(ending))

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.at, "content_index": 0}


def _added(at: int, item: dict[str, Any]) -> ServerEvent:
    return "response.output_item.added", {"output_index": at, "item": item}


def _done(at: int, item: dict[str, Any]) -> ServerEvent:
    return "response.output_item.done", {"output_index": at, "item": item}


def _message(id_: str, status: str, content: list[Any]) -> dict[str, Any]:
    return {
        "id": id_,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _call(id_: str, call: ToolCall, status: str, arguments: str) -> dict[str, Any]:
    return {
        "id": id_,
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
    }


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _summary_part(text: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": text}
