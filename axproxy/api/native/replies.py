"""Encodes replies of our own small API: one object, or a line for each piece of text."""

from __future__ import annotations

from typing import Any

from axproxy.api.encoding import NDJSON, NDJSON_HEARTBEAT
from axproxy.api.gojson.decode import compact
from axproxy.errors import ProxyError
from axproxy.messages import Event, Finished, Text, Usage, WholeReply


class NativeReplies:
    """Encodes one reply of `POST /generate`; its requests ask for no thinking and no tools."""

    stream_type = NDJSON

    def line(self, event: Event) -> bytes:
        match event:
            case Finished():
                return compact({"text": "", "done": True, **_ending(event)}) + b"\n"
            case Text(""):
                return NDJSON_HEARTBEAT
            case Text():
                return compact({"text": event.text}) + b"\n"
            case _:
                raise TypeError(f"no request of this API asks for {type(event).__name__}")

    def whole(self, reply: WholeReply) -> bytes:
        return compact({"text": reply.text, **_ending(reply.finished)})

    def failure(self, error: ProxyError) -> bytes:
        return compact({"error": error.message}) + b"\n"

    def mid_stream_error(self, error: ProxyError) -> ProxyError:
        return error


def _ending(finished: Finished) -> dict[str, Any]:
    usage = finished.usage
    return {
        "finish_reason": finished.reason,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        },
        "timings": _timings(usage),
    }


def _timings(usage: Usage) -> dict[str, float]:
    seconds = {
        "total_ms": usage.total,
        "load_ms": usage.load,
        "prompt_eval_ms": usage.prompt_eval,
        "eval_ms": usage.eval,
    }
    return {name: round(value * 1000, 3) for name, value in seconds.items()}
