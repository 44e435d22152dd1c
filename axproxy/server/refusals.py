"""What the server itself refuses, before the application has seen the request."""

from __future__ import annotations

from http import HTTPStatus

from gunicorn.http import errors as http

from axproxy.api.errors import error_body
from axproxy.api.gojson.decode import compact
from axproxy.api.media_types import JSON
from axproxy.api.ollama.errors import QUEUE_FULL
from axproxy.errors import Busy, ProxyError
from axproxy.ops.request_log import HEADER, id_for, say_done, working_for
from axproxy.server.connection import Connection
from axproxy.server.request_framing import Label

HEAD_TOO_LARGE = ProxyError(
    "the request's headers are too large; send fewer or shorter ones", status=431
)
TOO_SLOW = ProxyError("the request did not arrive in time; send it again, all at once", status=408)
TOO_MANY = ProxyError(
    "too many connections are open; try again in a moment", retry_after=1, status=503
)
BUSY = Busy(QUEUE_FULL)
OUR_FAULT = ProxyError("internal error; see the service's log", status=500)

_NOT_HTTP = ProxyError("this is not a well-formed HTTP/1.1 request; check the client", status=400)
_MALFORMED: dict[type[Exception], ProxyError] = {
    http.LimitRequestLine: ProxyError(
        "the address is too long; send what it says as JSON", status=414
    ),
    http.LimitRequestHeaders: HEAD_TOO_LARGE,
    http.UnsupportedTransferCoding: ProxyError(
        "of the transfer codings only chunked is known; send a Content-Length instead", status=501
    ),
    http.ExpectationFailed: ProxyError(
        "nothing but 100-continue can be expected; leave it out", status=417
    ),
    http.InvalidHTTPVersion: ProxyError(
        "only HTTP/1.0 and HTTP/1.1 are spoken; use one of them", status=505
    ),
}


def refusal_for(error: Exception) -> ProxyError:
    """What to say of a request that gunicorn cannot read, or that has broken our side of it."""
    if isinstance(error, http.ParseException):
        return _MALFORMED.get(type(error), _NOT_HTTP)
    return OUR_FAULT


def answer(connection: Connection, label: Label, refusal: ProxyError) -> None:
    """Says it in the dialect of the API that was called; the connection should end thereafter."""
    told, status = error_body(f"/{label.path.lstrip('/')}", refusal)
    request_id = id_for(label.request_id)
    body = compact(told)
    head = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Connection: close",
        f"Content-Type: {JSON}",
        f"Content-Length: {len(body)}",
        f"{HEADER}: {request_id}",
    ]
    if refusal.retry_after is not None:
        head.append(f"Retry-After: {refusal.retry_after}")
    connection.write_now("\r\n".join([*head, "", ""]).encode() + body)
    with working_for(request_id):
        say_done(label.method, label.path, status, 0.0, len(body))
