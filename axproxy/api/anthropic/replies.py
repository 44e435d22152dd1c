"""Encodes replies of `/v1/messages`: events become bytes, one content block after the other."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from axproxy.api.anthropic.errors import mid_stream_object
from axproxy.api.encoding import SSE, SSE_HEARTBEAT, sse_event
from axproxy.api.gojson.decode import compact
from axproxy.api.ollama.errors import mid_stream_error
from axproxy.errors import ProxyError
from axproxy.messages import (
    ChatRequest,
    Event,
    Finished,
    Text,
    Thinking,
    ToolCall,
    Usage,
    WholeReply,
)

_BYTES_PER_TOKEN = 4  # as Ollama estimates


@dataclass(frozen=True)
class MessageHeader:
    """What a reply reports about itself; `input_tokens` is the estimate that begins a stream."""

    id: str
    model: str
    input_tokens: int


class MessagesReplies:
    """Encodes one reply."""

    stream_type = SSE

    def __init__(self, header: MessageHeader) -> None:
        self._header = header
        self._begun = False
        self._called = False
        self._indexes = count()
        self._open: _Block | None = None

    def line(self, event: Event) -> bytes:
        match event:
            case Text(""):
                return SSE_HEARTBEAT
            case Text():
                return _encode(self._grow("text", event.text))
            case Thinking():
                return _encode(self._grow("thinking", event.text))
            case ToolCall():
                return _encode(self._call(event))
            case Finished():
                return _encode(self._end(event))

    def whole(self, reply: WholeReply) -> bytes:
        content: list[dict[str, Any]] = []
        if reply.thinking:
            thinking = {"thinking": reply.thinking, "signature": _signature([reply.thinking])}
            content.append({"type": "thinking", **thinking})
        if reply.text:
            content.append({"type": "text", "text": reply.text})
        content += [_tool_use(call) | {"input": call.arguments} for call in reply.tool_calls]
        reason = _reason(reply.finished, bool(reply.tool_calls))
        whole = self._message(content, _usage(reply.finished.usage))
        return compact(whole | {"stop_reason": reason})

    def failure(self, error: ProxyError) -> bytes:
        return sse_event(mid_stream_object(error), "error")

    def mid_stream_error(self, error: ProxyError) -> ProxyError:
        return mid_stream_error(error)

    def _begin(self) -> Iterator[dict[str, Any]]:
        """Yield the first event of the stream, unless it has been sent."""
        if not self._begun:
            self._begun = True
            estimate = {"input_tokens": self._header.input_tokens, "output_tokens": 0}
            yield {"type": "message_start", "message": self._message([], estimate)}

    def _grow(self, type_: str, piece: str) -> Iterator[dict[str, Any]]:
        block = self._open
        if block is None or block.type != type_:
            yield from self._begin()
            yield from self._end_block()
            block = self._open = _Block(type_, next(self._indexes))
            unsigned = {"signature": ""} if type_ == "thinking" else {}
            yield _block_start(block.index, {"type": type_, type_: "", **unsigned})
        block.pieces.append(piece)
        yield _block_delta(block.index, {"type": f"{type_}_delta", type_: piece})

    def _call(self, call: ToolCall) -> Iterator[dict[str, Any]]:
        yield from self._begin()
        yield from self._end_block()
        self._called = True
        index, arguments = next(self._indexes), compact(call.arguments).decode()
        yield _block_start(index, _tool_use(call) | {"input": {}})
        yield _block_delta(index, {"type": "input_json_delta", "partial_json": arguments})
        yield _block_stop(index)

    def _end(self, finished: Finished) -> Iterator[dict[str, Any]]:
        yield from self._begin()
        yield from self._end_block()
        yield {
            "type": "message_delta",
            "delta": {"stop_reason": _reason(finished, self._called)},
            "usage": _usage(finished.usage),
        }
        yield {"type": "message_stop"}

    def _end_block(self) -> Iterator[dict[str, Any]]:
        """Yield the last event of the block that is being streamed, if there is one."""
        if block := self._open:
            if block.type == "thinking":
                signed = {"type": "signature_delta", "signature": _signature(block.pieces)}
                yield _block_delta(block.index, signed)
            yield _block_stop(block.index)
            self._open = None

    def _message(self, content: list[Any], usage: dict[str, int]) -> dict[str, Any]:
        return {
            "id": self._header.id,
            "type": "message",
            "role": "assistant",
            "model": self._header.model,
            "content": content,
            "usage": usage,
        }


@dataclass(frozen=True)
class _Block:
    """A block of text or thinking that is being streamed."""

    type: str
    index: int
    pieces: list[str] = field(default_factory=list)


def _encode(events: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(sse_event(event, event["type"]) for event in events)


def estimate_tokens(request: ChatRequest) -> int:
    """Estimate the tokens of the prompt; a stream reports them before they are counted."""
    size = sum(len(compact(tool)) for tool in request.tools)
    for turn in request.messages:
        size += len(f"{turn.role}{turn.content}{turn.thinking}".encode())
        size += sum(len(call.name) + len(compact(call.arguments)) for call in turn.tool_calls)
    return max(size // _BYTES_PER_TOKEN, 1)


def _signature(pieces: Iterable[str]) -> str:
    """Return a text to sign thinking with, which clients need to hand the thinking back.

    Some refuse a block without a signature, others one that is empty.  Ours proves nothing: when
    it comes back it is not looked at.
    """
    digest = hashlib.sha256("".join(pieces).encode(errors="replace")).digest()
    return base64.b64encode(digest).decode()


def _tool_use(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name}


def _block_start(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _block_delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _block_stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def _usage(counted: Usage) -> dict[str, int]:
    return {"input_tokens": counted.prompt_tokens, "output_tokens": counted.completion_tokens}


def _reason(finished: Finished, called: bool) -> str:
    if called:
        return "tool_use"
    return "max_tokens" if finished.reason == "length" else "end_turn"
