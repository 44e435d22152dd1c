"""The content types of replies, and server-sent events as bytes."""

from __future__ import annotations

from typing import Any

from axproxy.api.gojson.decode import compact

JSON = "application/json; charset=utf-8"
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
# Blanks between two JSON values mean nothing: a reader of lines finds one before its next object.
# A whole line would do harm: `ollama run` takes its spinner away at the first.
NDJSON_HEARTBEAT = b" "
SSE_HEARTBEAT = b": still working\n\n"  # a comment, which readers of such streams skip


def sse_event(body: Any, name: str = "") -> bytes:
    """Encode one event whose data is `body` as JSON; without a name readers call it `message`."""
    head = f"event: {name}\n" if name else ""
    return head.encode() + b"data: " + compact(body) + b"\n\n"
