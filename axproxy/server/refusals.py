"""The replies of the server itself, to requests that the application never sees."""

from __future__ import annotations

from http import HTTPStatus

from axproxy.api.encoding import JSON
from axproxy.api.gojson.decode import compact
from axproxy.api.ollama.errors import QUEUE_FULL
from axproxy.errors import Busy, ProxyError
from axproxy.ops.request_log import HEADER, RequestRecord, id_for, log_request, request_context
from axproxy.server.connection import Connection
from axproxy.server.gunicorn_adapter import http_errors
from axproxy.server.request_framing import Label

HEAD_TOO_LARGE = ProxyError(
    "the request's headers are too large; send fewer or shorter ones", status=431
)
TOO_SLOW = ProxyError("the request did not arrive in time; send it again, all at once", status=408)
TOO_MANY = ProxyError(
    "too many connections are open; try again in a moment", retry_after=1, status=503
)
BUSY = Busy(QUEUE_FULL)
INTERNAL_ERROR = ProxyError("internal error; see the service's log", status=500)

_NOT_HTTP = ProxyError("this is not a well-formed HTTP/1.1 request; check the client", status=400)
_MALFORMED: dict[type[Exception], ProxyError] = {
    http_errors.LimitRequestLine: ProxyError(
        "the URL is too long; send its parameters as JSON in the body", status=414
    ),
    http_errors.LimitRequestHeaders: HEAD_TOO_LARGE,
    http_errors.UnsupportedTransferCoding: ProxyError(
        "the only transfer coding is chunked; send a Content-Length instead", status=501
    ),
    http_errors.ExpectationFailed: ProxyError(
        "the only Expect header is 100-continue; leave out any other", status=417
    ),
    http_errors.InvalidHTTPVersion: ProxyError(
        "only HTTP/1.0 and HTTP/1.1 are supported; use one of them", status=505
    ),
}


def refusal_for(error: Exception) -> ProxyError:
    """Return the reply to a request that gunicorn cannot parse, or that failed in our own code."""
    if isinstance(error, http_errors.ParseException):
        return _MALFORMED.get(type(error), _NOT_HTTP)
    return INTERNAL_ERROR


def answer(connection: Connection, label: Label, refusal: ProxyError) -> None:
    """Send the refusal in the dialect of the API that was called, and log it.

    The connection must be closed afterwards.
    """
    # The dialects import Flask, which gunicorn's master never needs: some 10 MB of its memory.
    from axproxy.api.dialects import dialect_of  # noqa: PLC0415 - see above

    reply, status = dialect_of(f"/{label.path.lstrip('/')}").error_body(refusal)
    record = RequestRecord(id_for(label.request_id), label.method, label.path)
    body = compact(reply)
    head = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Connection: close",
        f"Content-Type: {JSON}",
        f"Content-Length: {len(body)}",
        f"{HEADER}: {record.id}",
    ]
    if refusal.retry_after is not None:
        head.append(f"Retry-After: {refusal.retry_after}")
    connection.write_now("\r\n".join([*head, "", ""]).encode() + body)
    record.status, record.size, record.reason = status, len(body), refusal.message
    with request_context(record):
        log_request(record)
