"""The program's replies, byte for byte: keys in alphabetical order, two blanks of indentation."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from axmock.axllm.config import Config

REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Keep-Alive: timeout=5, max=100\r\n"
    b"Transfer-Encoding: chunked\r\n"
    b"Connection: keep-alive\r\n"
    b"Cache-Control: no-cache\r\n"
    b"Content-Type: text/event-stream\r\n"
    b"Content-Type: text/event-stream\r\n\r\n"
)
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
OPTIONS = (
    b"HTTP/1.1 200 OK\r\n"
    b"Keep-Alive: timeout=5, max=100\r\n"
    b"Access-Control-Allow-Headers: Content-Type, Authorization\r\n"
    b"Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n"
    b"Access-Control-Allow-Origin: *\r\n"
    b"Content-Length: 0\r\n\r\n"
)
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Counts:
    """Tokens of one run, and its times; versions before April 2026 report zeros."""

    prompt: int = 0
    completion: int = 0
    first_ms: float = 0.0
    decode_tps: float = 0.0
    prefill_tps: float = 0.0

    def as_json(self, *, old: bool) -> dict[str, Any]:
        if old:
            return {"completion_tokens": 0, "prompt_tokens": 0, "total_tokens": 0}
        return {
            "completion_tokens": self.completion,
            "decode_tps": self.decode_tps,
            "prefill_tokens": self.prompt,
            "prefill_tps": self.prefill_tps,
            "prompt_tokens": self.prompt,
            "total_tokens": self.prompt + self.completion,
            "ttft_ms": self.first_ms,
        }


def body_of(value: Any) -> bytes:
    """Return a JSON body with its indentation."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode()


def reply(value: Any, status: int = 200, *, to_head: bool = False) -> bytes:
    """Return a whole response; errors close the connection."""
    body = body_of(value)
    life = "Keep-Alive: timeout=5, max=100" if status == 200 else "Connection: close"
    ranges = "Accept-Ranges: bytes\r\n" if to_head else ""
    head = (
        f"HTTP/1.1 {status} {REASONS[status]}\r\n{life}\r\n{ranges}"
        f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n"
    ).encode()
    return head if to_head else head + body


def error(status: int, code: str, message: str) -> bytes:
    return reply({"error": {"code": code, "message": message, "type": code}}, status)


def exception(what: str) -> bytes:
    """Return what an exception in a handler becomes: no body, and a header."""
    head = f"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nEXCEPTION_WHAT: {what}\r\n"
    return f"{head}Content-Length: 0\r\n\r\n".encode()


def health(concurrency: int) -> dict[str, Any]:
    return {"concurrency": concurrency, "max_concurrency": 1, "status": "healthy"}


def models(config: Config, limits: tuple[int, int], *, old: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "created": int(time.time()),
        "id": config.model_name,
        "object": "model",
        "owned_by": "openai-api",
    }
    sizes = {"max_token_len": limits[0], "prefill_max_token_num": limits[1]}
    if not config.is_embedding:
        entry |= {
            "capabilities": {"vision": config.sees},
            "input_modalities": ["text", "image"] if config.sees else ["text"],
            "thinking_mode": config.thinking_mode,
        }
        if config.max_output:
            entry["server_max_output_tokens"] = config.max_output
    if not old:
        entry |= sizes
    return {"data": [entry], "object": "list"}


def event(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def chunk(model: str, delta: Mapping[str, Any], finish: str | None, **rest: Any) -> bytes:
    """Return a piece of a stream; each has another id."""
    return event(
        {
            "choices": [{"delta": delta, "finish_reason": finish, "index": 0}],
            "created": int(time.time()),
            "id": _new_id(),
            "model": model,
            "object": "chat.completion.chunk",
            **rest,
        }
    )


def delta(model: str, text: str) -> bytes:
    return chunk(model, {"content": text, "role": "assistant"}, None)


def last(model: str, counts: Counts, *, old: bool) -> bytes:
    return chunk(model, {}, "stop", usage=counts.as_json(old=old))


def completion(model: str, text: str, counts: Counts, *, old: bool) -> dict[str, Any]:
    message = {"content": text, "role": "assistant"}
    return {
        "choices": [{"finish_reason": "stop", "index": 0, "message": message}],
        "created": int(time.time()),
        "id": _new_id(),
        "model": model,
        "object": "chat.completion",
        "usage": counts.as_json(old=old),
    }


def embeddings(model: str, vectors: Sequence[Sequence[float]]) -> dict[str, Any]:
    data = [
        {"embedding": list(vector), "index": at, "object": "embedding"}
        for at, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    return {"data": data, "model": model, "object": "list", "usage": usage}


def http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _new_id() -> str:
    return f"chatcmpl-{secrets.token_hex(12)}"
