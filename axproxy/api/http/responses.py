"""JSON values as responses, encoded as Ollama encodes them, and responses of nothing."""

from __future__ import annotations

from typing import Any

from flask import Response

from axproxy.api.encoding import JSON
from axproxy.api.gojson.decode import compact


def json_response(body: Any, status: int = 200, retry_after: int | None = None) -> Response:
    """Return `body` as a response; `retry_after` is in seconds."""
    response = Response(compact(body), status, content_type=JSON)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def empty_response() -> Response:
    """Return a 200 without a body, and so without a type of it."""
    response = Response(status=200)
    del response.headers["Content-Type"]
    return response
