"""Encodes OpenAI's replies: events become bytes, in the shape that Ollama gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from axproxy.api.encoding import SSE, SSE_HEARTBEAT, sse_event
from axproxy.api.gojson.decode import compact
from axproxy.api.ollama.errors import mid_stream_error
from axproxy.api.openai.errors import mid_stream_object
from axproxy.errors import ProxyError
from axproxy.messages import Event, Finished, Text, Thinking, ToolCall, Usage, WholeReply
from axproxy.models.model import Model

DONE = b"data: [DONE]\n\n"
FINGERPRINT = "fp_ollama"


@dataclass(frozen=True)
class ChatReplyHeader:
    """What all parts of one reply have in common; `created` is in seconds since 1970."""

    id: str
    created: int
    model: str
    include_usage: bool = False


class ChatReplies:
    """Encodes one reply of `/v1/chat/completions`."""

    stream_type = SSE

    def __init__(self, header: ChatReplyHeader) -> None:
        self._header = header
        self._begun = False
        self._calls = count()  # numbered across the whole reply

    def line(self, event: Event) -> bytes:
        match event:
            case Text(""):
                return SSE_HEARTBEAT
            case Text():
                return self._delta(content=event.text)
            case Thinking():
                return self._delta(content="", **_reasoning(event.text))
            case ToolCall():
                return self._delta(content="", tool_calls=[self._call(event)])
            case Finished():
                return self._end(event)

    def whole(self, reply: WholeReply) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": reply.text}
        if reply.thinking:
            message |= _reasoning(reply.thinking)
        if reply.tool_calls:
            message["tool_calls"] = [self._call(call) for call in reply.tool_calls]
        reason = _reason(reply.finished, bool(reply.tool_calls))
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return compact(
            self._object("chat.completion", [choice]) | {"usage": usage(reply.finished.usage)}
        )

    def failure(self, error: ProxyError) -> bytes:
        return sse_event(mid_stream_object(error)) + DONE

    def mid_stream_error(self, error: ProxyError) -> ProxyError:
        return mid_stream_error(error)

    def _end(self, finished: Finished) -> bytes:
        called = next(self._calls) > 0
        parts = [self._delta(reason=_reason(finished, called))]
        if self._header.include_usage:
            last = self._object("chat.completion.chunk", []) | {"usage": usage(finished.usage)}
            parts.append(sse_event(last))
        return b"".join((*parts, DONE))

    def _delta(self, reason: str | None = None, **delta: Any) -> bytes:
        if not self._begun:
            self._begun = True
            delta = {"role": "assistant", "content": "", **delta}
        return sse_event(self._chunk(delta, reason))

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return self._object("chat.completion.chunk", [choice])

    def _call(self, call: ToolCall) -> dict[str, Any]:
        arguments = compact(call.arguments).decode()
        return {
            "id": call.id,
            "index": next(self._calls),
            "type": "function",
            "function": {"name": call.name, "arguments": arguments},
        }

    def _object(self, kind: str, choices: list[Any]) -> dict[str, Any]:
        return _object(self._header, kind, choices)


class CompletionReplies:
    """Encodes one reply of `/v1/completions`."""

    stream_type = SSE

    def __init__(self, header: ChatReplyHeader) -> None:
        self._header = header

    def line(self, event: Event) -> bytes:
        match event:
            case Text(""):
                return SSE_HEARTBEAT
            case Text():
                return sse_event(self._chunk(event.text, None))
            case Finished():
                return self._end(event)
        raise TypeError(f"a completion has no place for {event}")

    def whole(self, reply: WholeReply) -> bytes:
        choice = _text_choice(reply.text, reply.finished.reason)
        whole = _object(self._header, "text_completion", [choice])
        return compact(whole | {"usage": usage(reply.finished.usage)})

    def failure(self, error: ProxyError) -> bytes:
        return sse_event(mid_stream_object(error)) + DONE

    def mid_stream_error(self, error: ProxyError) -> ProxyError:
        return mid_stream_error(error)

    def _end(self, finished: Finished) -> bytes:
        parts = [sse_event(self._chunk("", finished.reason))]
        if self._header.include_usage:
            last = _object(self._header, "text_completion", [])
            parts.append(sse_event(last | {"usage": usage(finished.usage)}))
        return b"".join((*parts, DONE))

    def _chunk(self, text: str, reason: str | None) -> dict[str, Any]:
        chunk = _object(self._header, "text_completion", [_text_choice(text, reason)])
        if self._header.include_usage:
            chunk["usage"] = dict.fromkeys(_COUNTS, 0)
        return chunk


def model_object(model: Model, requested_name: str | None = None) -> dict[str, Any]:
    """Return an entry of `/v1/models`; `requested_name` is the name in the request, if any.

    The window has the names of other servers, OpenAI has none; it is left out until it is known.
    """
    window = dict.fromkeys(("context_length", "max_model_len"), model.context_length)
    return {
        "id": requested_name or model.name,
        "object": "model",
        "created": int(model.modified_at.timestamp()),
        "owned_by": "library",
        **(window if model.context_length else {}),
    }


_COUNTS: dict[str, Callable[[Usage], int]] = {
    "prompt_tokens": lambda usage: usage.prompt_tokens,
    "completion_tokens": lambda usage: usage.completion_tokens,
    "total_tokens": lambda usage: usage.prompt_tokens + usage.completion_tokens,
}


def usage(counted: Usage) -> dict[str, int]:
    return {name: count_of(counted) for name, count_of in _COUNTS.items()}


def _reasoning(text: str) -> dict[str, str]:
    """Return the reasoning under both of its names: Ollama's and DeepSeek's."""
    return {"reasoning": text, "reasoning_content": text}


def _reason(finished: Finished, called: bool) -> str:
    return "tool_calls" if called and finished.reason == "stop" else finished.reason


def _text_choice(text: str, reason: str | None) -> dict[str, Any]:
    return {"text": text, "index": 0, "finish_reason": reason}


def _object(header: ChatReplyHeader, kind: str, choices: list[Any]) -> dict[str, Any]:
    return {
        "id": header.id,
        "object": kind,
        "created": header.created,
        "model": header.model,
        "system_fingerprint": FINGERPRINT,
        "choices": choices,
    }
