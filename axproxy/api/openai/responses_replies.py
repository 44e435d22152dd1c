"""Encodes replies of `/v1/responses`: events become bytes, one output item after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from axproxy.api.encoding import SSE, SSE_HEARTBEAT, sse_event
from axproxy.api.gojson.decode import compact
from axproxy.api.ollama.errors import mid_stream_error
from axproxy.api.ollama.replies import Clock
from axproxy.api.openai.errors import mid_stream_object
from axproxy.api.openai.responses_items import (
    Ending,
    GrowingMessage,
    GrowingReasoning,
    ServerEvent,
    call_events,
    call_item,
    message_item,
    reasoning_item,
)
from axproxy.errors import ProxyError
from axproxy.messages import Event, Finished, Text, Thinking, ToolCall, Usage, WholeReply

_Growing = GrowingReasoning | GrowingMessage

_GROWING: dict[type, type[_Growing]] = {Thinking: GrowingReasoning, Text: GrowingMessage}
_PREFIXES = {Thinking: "rs", Text: "msg", ToolCall: "fc"}


@dataclass(frozen=True)
class ResponseHeader:
    """What all parts of one reply have in common.

    `number` is a part of every id, `created` is in seconds since 1970, `repeated` are fields of
    the request.
    """

    number: int
    created: int
    model: str
    repeated: Mapping[str, Any]


class ResponsesReplies:
    """Encodes one reply; `now` returns the time, with a zone."""

    stream_type = SSE

    def __init__(self, header: ResponseHeader, now: Clock) -> None:
        self._header = header
        self._now = now
        self._begun = False
        self._sequence = count()
        self._output: list[dict[str, Any]] = []
        self._growing: _Growing | None = None

    def line(self, event: Event) -> bytes:
        match event:
            case Text(""):
                return SSE_HEARTBEAT
            case Text() | Thinking():
                return self._encode(self._grow(type(event), event.text))
            case ToolCall():
                return self._encode(self._call(event))
            case Finished():
                return self._encode(self._end(event))

    def whole(self, reply: WholeReply) -> bytes:
        # The last item is the one that the limit cuts; a call counts only when it is whole.
        ending = _ending(reply.finished)
        only_thought = ending == "incomplete" and reply.thinking and not reply.text
        if reply.thinking:
            last = only_thought and not reply.tool_calls
            thought = reply.thinking, ending if last else "completed"
            self._output.append(reasoning_item(self._id(Thinking), *thought))
        if reply.text or not (reply.tool_calls or only_thought):
            said = reply.text, "completed" if reply.tool_calls else ending
            self._output.append(message_item(self._id(Text), *said))
        for call in reply.tool_calls:
            self._output.append(call_item(self._id(ToolCall), call))
        return compact(self._ended(reply.finished))

    def failure(self, error: ProxyError) -> bytes:
        return self._encode(self._fail(mid_stream_object(error)))

    def mid_stream_error(self, error: ProxyError) -> ProxyError:
        return mid_stream_error(error)

    def _grow(self, kind: type, piece: str) -> Iterator[ServerEvent]:
        item = self._growing
        if item is None or not isinstance(item, _GROWING[kind]):
            yield from self._begin()
            yield from self._end_item()
            item = self._growing = _GROWING[kind](self._id(kind), len(self._output))
            yield from item.begin()
        yield item.grow(piece)

    def _call(self, call: ToolCall) -> Iterator[ServerEvent]:
        yield from self._begin()
        yield from self._end_item()
        id_ = self._id(ToolCall)
        yield from call_events(id_, len(self._output), call)
        self._output.append(call_item(id_, call))

    def _end(self, finished: Finished) -> Iterator[ServerEvent]:
        ending = _ending(finished)
        yield from self._begin()
        yield from self._end_item(ending)
        yield f"response.{ending}", {"response": self._ended(finished)}

    def _begin(self) -> Iterator[ServerEvent]:
        """Yield the first events of the stream, unless they have been sent."""
        if not self._begun:
            self._begun = True
            for kind in ("response.created", "response.in_progress"):
                yield kind, {"response": self._response("in_progress")}

    def _end_item(self, ending: Ending = "completed") -> Iterator[ServerEvent]:
        """Yield the last events of the item that is being streamed, if there is one."""
        if self._growing:
            yield from self._growing.end(ending)
            self._output.append(self._growing.whole(ending))
            self._growing = None

    def _fail(self, failure: dict[str, Any]) -> Iterator[ServerEvent]:
        yield from self._begin()
        message, code = failure["error"]["message"], failure["error"]["code"]
        known = {"code": code or "server_error", "message": message}
        yield "response.failed", {"response": self._response("failed", error=known)}
        # Some of OpenAI's clients read `message`, others raise what is in `error`.
        yield "error", {"code": code, "message": message, "param": None, **failure}

    def _encode(self, events: Iterator[ServerEvent]) -> bytes:
        return b"".join(
            sse_event({"type": kind, "sequence_number": next(self._sequence), **fields}, kind)
            for kind, fields in events
        )

    def _id(self, kind: type) -> str:
        return f"{_PREFIXES[kind]}_{self._header.number}_{len(self._output)}"

    def _ended(self, finished: Finished) -> dict[str, Any]:
        """Return the response after the answer's end, its own or the one that a limit made.

        Ollama reports `completed` for both, and then half an answer looks whole.
        """
        ending, counted = _ending(finished), _usage(finished.usage)
        if ending == "incomplete":
            why = {"reason": "max_output_tokens"}
            return self._response(ending, incomplete_details=why, usage=counted)
        at = int(self._now().timestamp())
        return self._response(ending, completed_at=at, usage=counted)

    def _response(self, status: str, **known: Any) -> dict[str, Any]:
        return {
            "id": f"resp_{self._header.number}",
            "object": "response",
            "created_at": self._header.created,
            "completed_at": None,
            "status": status,
            "incomplete_details": None,
            "model": self._header.model,
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
            **self._header.repeated,
            **known,
        }


def _ending(finished: Finished) -> Ending:
    return "incomplete" if finished.reason == "length" else "completed"


def _usage(counted: Usage) -> dict[str, Any]:
    return {
        "input_tokens": counted.prompt_tokens,
        "output_tokens": counted.completion_tokens,
        "total_tokens": counted.prompt_tokens + counted.completion_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
