"""Replies of `/v1/messages`: from events to bytes, one content block after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from axproxy.api import sse
from axproxy.api.errors import anthropic_body
from axproxy.api.gojson.decode import compact
from axproxy.api.media_types import SSE
from axproxy.api.ollama.errors import cut_short
from axproxy.errors import ProxyError
from axproxy.messages import ChatRequest, Event, Finished, Reply, Text, Thinking, ToolCall, Usage

_BYTES_PER_TOKEN = 4  # Ollama's guess, too


@dataclass(frozen=True)
class Head:
    """What a reply says of itself; `input_tokens` is what a stream begins with, a guess."""

    id: str
    model: str
    input_tokens: int


class MessagesReplies:
    """The parts of one reply."""

    stream_type = SSE

    def __init__(self, head: Head) -> None:
        self._head = head
        self._begun = False
        self._called = False
        self._indexes = count()
        self._open: _Block | None = None

    def line(self, event: Event) -> bytes:
        match event:
            case Text(""):
                return sse.SIGN_OF_LIFE
            case Text():
                return self._growing("text", event.text)
            case Thinking():
                return self._growing("thinking", event.text)
            case ToolCall():
                return _events(self._telling_of_call(event))
            case Finished():
                return _events(self._ending(event))

    def whole(self, reply: Reply) -> bytes:
        content: list[dict[str, Any]] = []
        if reply.thinking:
            content.append({"type": "thinking", "thinking": reply.thinking})
        if reply.text:
            content.append({"type": "text", "text": reply.text})
        content += [_tool_use(call) | {"input": call.arguments} for call in reply.tool_calls]
        reason = _reason(reply.finished, bool(reply.tool_calls))
        whole = self._message(content, _usage(reply.finished.usage))
        return compact(whole | {"stop_reason": reason})

    def failure(self, error: ProxyError) -> bytes:
        return sse.event(anthropic_body(cut_short(error)), "error")

    def cut_short(self, error: ProxyError) -> ProxyError:
        return cut_short(error)

    def _beginning(self) -> Iterator[dict[str, Any]]:
        if not self._begun:
            self._begun = True
            guess = {"input_tokens": self._head.input_tokens, "output_tokens": 0}
            yield {"type": "message_start", "message": self._message([], guess)}

    def _growing(self, type_: str, piece: str) -> bytes:
        block, before = self._open, b""
        if block is None or block.type != type_:
            block = _Block(type_, next(self._indexes))
            before = _events(self._opening(block))
        return before + block.delta(piece)

    def _opening(self, block: _Block) -> Iterator[dict[str, Any]]:
        yield from self._beginning()
        yield from self._end_open()
        self._open = block
        yield _block_start(block.index, {"type": block.type, block.type: ""})

    def _telling_of_call(self, call: ToolCall) -> Iterator[dict[str, Any]]:
        yield from self._beginning()
        yield from self._end_open()
        self._called = True
        yield from _telling_of_call(next(self._indexes), call)

    def _ending(self, finished: Finished) -> Iterator[dict[str, Any]]:
        yield from self._beginning()
        yield from self._end_open()
        yield {
            "type": "message_delta",
            "delta": {"stop_reason": _reason(finished, self._called)},
            "usage": _usage(finished.usage),
        }
        yield {"type": "message_stop"}

    def _end_open(self) -> Iterator[dict[str, Any]]:
        if self._open:
            yield _block_stop(self._open.index)
            self._open = None

    def _message(self, content: list[Any], usage: dict[str, int]) -> dict[str, Any]:
        return {
            "id": self._head.id,
            "type": "message",
            "role": "assistant",
            "model": self._head.model,
            "content": content,
            "usage": usage,
        }


@dataclass(frozen=True)
class _Block:
    """A block of text or of thinking that grows."""

    type: str
    index: int

    def delta(self, piece: str) -> bytes:
        """Encode the event that carries one more piece."""
        body = _block_delta(self.index, {"type": f"{self.type}_delta", self.type: piece})
        return sse.event(body, body["type"])


def _events(told: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(sse.event(each, each["type"]) for each in told)


def guessed_tokens(request: ChatRequest) -> int:
    """How long the prompt may be, in tokens: a stream must say so before anybody has counted."""
    size = sum(len(compact(tool)) for tool in request.tools)
    for turn in request.messages:
        size += len(f"{turn.role}{turn.content}{turn.thinking}".encode())
        size += sum(len(call.name) + len(compact(call.arguments)) for call in turn.tool_calls)
    return max(size // _BYTES_PER_TOKEN, 1)


def _telling_of_call(index: int, call: ToolCall) -> Iterator[dict[str, Any]]:
    arguments = compact(call.arguments).decode()
    yield _block_start(index, _tool_use(call) | {"input": {}})
    yield _block_delta(index, {"type": "input_json_delta", "partial_json": arguments})
    yield _block_stop(index)


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
