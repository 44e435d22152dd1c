"""Ollama's replies: from events to bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

from axproxy.api.encoding import NDJSON
from axproxy.api.gojson.decode import compact
from axproxy.api.ollama.errors import mid_stream_error
from axproxy.errors import ProxyError
from axproxy.messages import Event, Finished, Text, Thinking, ToolCall, Usage, WholeReply

Clock = Callable[[], datetime]
Put = Callable[[str, str, Sequence[Any]], Mapping[str, Any]]


def stamp(moment: datetime) -> str:
    """A time that every client can read: some need the fraction, others the zone."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Replies:
    """The lines of one reply.  `model` is the name as the client wrote it; `now` tells the time,
    with a zone; `put` lays text, thinking and calls where the route has them."""

    stream_type = NDJSON

    def __init__(self, model: str, now: Clock, put: Put) -> None:
        self._model = model
        self._now = now
        self._put = put
        self._calls = count()  # numbered across the whole reply

    def line(self, event: Event) -> bytes:
        """One line of a stream."""
        match event:
            case Text():
                return self._object(event.text, done=False) + b"\n"
            case Thinking():
                return self._object("", event.text, done=False) + b"\n"
            case ToolCall():
                return self._object("", "", (event,), done=False) + b"\n"
            case Finished():
                return self.whole(WholeReply("", "", (), event)) + b"\n"

    def whole(self, reply: WholeReply) -> bytes:
        """The whole answer as one object; when it is empty, the last line of a stream."""
        finished = reply.finished
        ending: dict[str, Any] = {"done_reason": finished.reason}
        if finished.context:
            ending["context"] = finished.context
        ending |= statistics(finished.usage)
        return self._object(reply.text, reply.thinking, reply.tool_calls, done=True, **ending)

    def loaded(self) -> bytes:
        """The answer to a request without a prompt, once the model is there."""
        return self._object("", done=True, done_reason="load")

    def unloading(self) -> bytes:
        """The answer to a request to free the card, which has not happened yet."""
        return self._object("", done=True, done_reason="unload")

    def failure(self, error: ProxyError) -> bytes:
        """The last line of a stream that an error cut short."""
        return compact({"error": mid_stream_error(error).message}) + b"\n"

    def mid_stream_error(self, error: ProxyError) -> ProxyError:
        return mid_stream_error(error)

    def _object(
        self, text: str, thinking: str = "", calls: Sequence[ToolCall] = (), **rest: Any
    ) -> bytes:
        numbered = [_call(call, next(self._calls)) for call in calls]
        content = self._put(text, thinking, numbered)
        known = {"model": self._model, "created_at": stamp(self._now())}
        return compact({**known, **content, **rest})


def chat_replies(model: str, now: Clock) -> Replies:
    def put(text: str, thinking: str, calls: Sequence[Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, **_present(thinking, calls)}
        return {"message": message}

    return Replies(model, now, put)


def generate_replies(model: str, now: Clock) -> Replies:
    def put(text: str, thinking: str, calls: Sequence[Any]) -> dict[str, Any]:
        return {"response": text, **_present(thinking, calls)}

    return Replies(model, now, put)


def _present(thinking: str, calls: Sequence[Any]) -> dict[str, Any]:
    """Neither key is there when it would be empty."""
    keys = {"thinking": thinking, "tool_calls": calls}
    return {key: value for key, value in keys.items() if value}


def _call(call: ToolCall, index: int) -> dict[str, Any]:
    function = {"index": index, "name": call.name, "arguments": call.arguments}
    return {"id": call.id, "function": function}


def statistics(usage: Usage) -> dict[str, int]:
    """Token counts, and times in whole nanoseconds, where the parts never exceed the total."""
    load, prompt_eval, eval_ = (
        round(seconds * 1e9) for seconds in (usage.load, usage.prompt_eval, usage.eval)
    )
    return {
        "total_duration": max(round(usage.total * 1e9), load + prompt_eval + eval_),
        "load_duration": load,
        "prompt_eval_count": usage.prompt_tokens,
        "prompt_eval_duration": prompt_eval,
        "eval_count": usage.completion_tokens,
        "eval_duration": eval_,
    }
