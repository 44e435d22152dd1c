"""Replies of `/v1/responses`: from events to bytes, one output item after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from axproxy.api import sse
from axproxy.api.errors import openai_body
from axproxy.api.gojson.decode import compact
from axproxy.api.media_types import SSE
from axproxy.api.ollama.errors import cut_short
from axproxy.api.ollama.replies import Clock
from axproxy.api.openai.responses_items import (
    GrowingMessage,
    GrowingReasoning,
    Told,
    call_item,
    message_item,
    reasoning_item,
    telling_of_call,
)
from axproxy.errors import ProxyError
from axproxy.messages import Event, Finished, Reply, Text, Thinking, ToolCall, Usage

_Growing = GrowingReasoning | GrowingMessage

_GROWING: dict[type, type[_Growing]] = {Thinking: GrowingReasoning, Text: GrowingMessage}
_PREFIXES = {Thinking: "rs", Text: "msg", ToolCall: "fc"}


@dataclass(frozen=True)
class Head:
    """What all parts of one reply say alike: `number` goes into every id, `created` is in seconds
    since 1970, `repeated` are fields of the request."""

    number: int
    created: int
    model: str
    repeated: Mapping[str, Any]


class ResponsesReplies:
    """The parts of one reply; `now` tells the time, with a zone."""

    stream_type = SSE

    def __init__(self, head: Head, now: Clock) -> None:
        self._head = head
        self._now = now
        self._begun = False
        self._sequence = count()
        self._output: list[dict[str, Any]] = []
        self._growing: _Growing | None = None

    def line(self, event: Event) -> bytes:
        match event:
            case Text(""):
                return sse.SIGN_OF_LIFE
            case Text() | Thinking():
                return self._grown(type(event), event.text)
            case ToolCall():
                return self._events(self._telling_of_call(event))
            case Finished():
                return self._events(self._ending(event))

    def whole(self, reply: Reply) -> bytes:
        if reply.thinking:
            self._output.append(reasoning_item(self._id(Thinking), reply.thinking))
        if reply.text or not reply.tool_calls:
            self._output.append(message_item(self._id(Text), reply.text))
        for call in reply.tool_calls:
            self._output.append(call_item(self._id(ToolCall), call))
        return compact(self._completed(reply.finished))

    def failure(self, error: ProxyError) -> bytes:
        return self._events(self._telling_of_failure(cut_short(error)))

    def cut_short(self, error: ProxyError) -> ProxyError:
        return cut_short(error)

    def _grown(self, kind: type, piece: str) -> bytes:
        item, before = self._growing, b""
        if item is None or not isinstance(item, _GROWING[kind]):
            before = self._events(self._end_of_last())
            item = self._growing = _GROWING[kind](self._id(kind), len(self._output))
            before += self._events(item.begin())
        return before + item.grow(next(self._sequence), piece)

    def _telling_of_call(self, call: ToolCall) -> Iterator[Told]:
        yield from self._end_of_last()
        id_ = self._id(ToolCall)
        yield from telling_of_call(id_, len(self._output), call)
        self._output.append(call_item(id_, call))

    def _ending(self, finished: Finished) -> Iterator[Told]:
        yield from self._end_of_last()
        yield "response.completed", {"response": self._completed(finished)}

    def _end_of_last(self) -> Iterator[Told]:
        """What comes before anything new."""
        yield from self._beginning()
        yield from self._end_growing()

    def _beginning(self) -> Iterator[Told]:
        if not self._begun:
            self._begun = True
            for kind in ("response.created", "response.in_progress"):
                yield kind, {"response": self._response("in_progress")}

    def _end_growing(self) -> Iterator[Told]:
        if self._growing:
            yield from self._growing.end()
            self._output.append(self._growing.whole())
            self._growing = None

    def _telling_of_failure(self, error: ProxyError) -> Iterator[Told]:
        yield from self._beginning()
        known = {"code": "server_error", "message": error.message}
        yield "response.failed", {"response": self._response("failed", error=known)}
        # OpenAI's clients read `message` or raise what is in `error`.
        yield "error", {"code": None, "message": error.message, "param": None, **openai_body(error)}

    def _events(self, told: Iterator[Told]) -> bytes:
        return b"".join(
            sse.event({"type": kind, "sequence_number": next(self._sequence), **fields}, kind)
            for kind, fields in told
        )

    def _id(self, kind: type) -> str:
        return f"{_PREFIXES[kind]}_{self._head.number}_{len(self._output)}"

    def _completed(self, finished: Finished) -> dict[str, Any]:
        at = int(self._now().timestamp())
        # Also an answer that its limit has cut is completed to Ollama.
        return self._response("completed", completed_at=at, usage=_usage(finished.usage))

    def _response(self, status: str, **known: Any) -> dict[str, Any]:
        return {
            "id": f"resp_{self._head.number}",
            "object": "response",
            "created_at": self._head.created,
            "completed_at": None,
            "status": status,
            "incomplete_details": None,
            "model": self._head.model,
            "previous_response_id": None,
            "output": list(self._output),
            "error": None,
            "parallel_tool_calls": True,
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "top_logprobs": 0,
            "usage": None,
            "max_tool_calls": None,
            "store": False,
            "service_tier": "default",
            "metadata": {},
            "safety_identifier": None,
            "prompt_cache_key": None,
            **self._head.repeated,
            **known,
        }


def _usage(counted: Usage) -> dict[str, Any]:
    return {
        "input_tokens": counted.prompt_tokens,
        "output_tokens": counted.completion_tokens,
        "total_tokens": counted.prompt_tokens + counted.completion_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
