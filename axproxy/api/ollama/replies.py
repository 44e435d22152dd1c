"""Encodes Ollama's replies: from events to bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

from axproxy.api.encoding import NDJSON, NDJSON_HEARTBEAT
from axproxy.api.gojson.decode import compact
from axproxy.api.ollama.errors import stream_error
from axproxy.errors import ProxyError
from axproxy.messages import Event, Finished, Text, Thinking, ToolCall, Usage, WholeReply

Clock = Callable[[], datetime]
ContentFields = Callable[[str, str, Sequence[Any]], Mapping[str, Any]]


def utc_now() -> datetime:
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """Format a time for every client: some need the fraction, others the zone."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class OllamaReplies:
    """Encodes one reply.

    `model` is the name as the client wrote it; `now` returns the time, with a zone;
    `content_fields` returns text, thinking and tool calls in the fields of the route.
    """

    stream_type = NDJSON

    def __init__(self, model: str, now: Clock, content_fields: ContentFields) -> None:
        self._model = model
        self._now = now
        self._content_fields = content_fields
        self._calls = count()  # numbered across the whole reply

    def line(self, event: Event) -> bytes:
        """Encode one line of a stream."""
        match event:
            case Text(""):
                return NDJSON_HEARTBEAT
            case Text():
                return self._object(event.text, done=False) + b"\n"
            case Thinking():
                return self._object("", event.text, done=False) + b"\n"
            case ToolCall():
                return self._object("", "", (event,), done=False) + b"\n"
            case Finished():
                return self.whole(WholeReply("", "", (), event)) + b"\n"

    def whole(self, reply: WholeReply) -> bytes:
        """Encode a whole answer as one object; an empty one is the last line of a stream."""
        finished = reply.finished
        ending: dict[str, Any] = {"done_reason": finished.reason}
        if finished.context:
            ending["context"] = finished.context
        ending |= statistics(finished.usage)
        return self._object(reply.text, reply.thinking, reply.tool_calls, done=True, **ending)

    def loaded(self) -> bytes:
        """Encode the reply to a request without a prompt, once the model is loaded."""
        return self._object("", done=True, done_reason="load")

    def rendered(self, prompt: str) -> bytes:
        """Encode the prompt that would have been read."""
        return self._object("", done=False, _debug_info={"rendered_template": prompt})

    def unloading(self) -> bytes:
        """Encode the reply to a request to free the card, which has not happened yet."""
        return self._object("", done=True, done_reason="unload")

    def failure(self, error: ProxyError) -> bytes:
        """Encode the last line of a stream that an error ended."""
        return compact({"error": stream_error(error).message}) + b"\n"

    def mid_stream_error(self, error: ProxyError) -> ProxyError:
        return stream_error(error)

    def _object(
        self, text: str, thinking: str = "", calls: Sequence[ToolCall] = (), **rest: Any
    ) -> bytes:
        numbered = [_call(call, next(self._calls)) for call in calls]
        content = self._content_fields(text, thinking, numbered)
        known = {"model": self._model, "created_at": timestamp(self._now())}
        return compact({**known, **content, **rest})


def chat_replies(model: str, now: Clock) -> OllamaReplies:
    def fields(text: str, thinking: str, calls: Sequence[Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, **_present(thinking, calls)}
        return {"message": message}

    return OllamaReplies(model, now, fields)


def generate_replies(model: str, now: Clock) -> OllamaReplies:
    def fields(text: str, thinking: str, calls: Sequence[Any]) -> dict[str, Any]:
        return {"response": text, **_present(thinking, calls)}

    return OllamaReplies(model, now, fields)


def _present(thinking: str, calls: Sequence[Any]) -> dict[str, Any]:
    """Return the two keys, without the empty ones."""
    keys = {"thinking": thinking, "tool_calls": calls}
    return {key: value for key, value in keys.items() if value}


def _call(call: ToolCall, index: int) -> dict[str, Any]:
    function = {"index": index, "name": call.name, "arguments": call.arguments}
    return {"id": call.id, "function": function}


def statistics(usage: Usage) -> dict[str, int]:
    """Return token counts, and times in nanoseconds, whose parts never exceed the total."""
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
