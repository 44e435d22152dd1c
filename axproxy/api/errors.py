"""Errors as responses: JSON or plain text, never HTML, never a traceback."""

from __future__ import annotations

import contextlib
import logging
from http import HTTPStatus

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from axproxy.api.dialects import dialect_of
from axproxy.api.http.responses import json_response
from axproxy.errors import ClientGone, ProxyError
from axproxy.ops.request_log import CLIENT_LEFT, current_record

log = logging.getLogger(__name__)

_PLAIN = {404: "404 page not found", 405: "405 method not allowed"}  # Ollama's own words


def install(app: Flask) -> None:
    """Make `app` answer all its errors with the functions below."""
    app.register_error_handler(ProxyError, error_response)
    app.register_error_handler(ClientGone, _client_gone)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    app.after_request(_spell_status)


def error_response(error: ProxyError) -> Response:
    """Return the response for `error` in the dialect of the present request."""
    current_record().reason = error.message
    body, status = dialect_of(request.path).error_body(error)
    return json_response(body, status, error.retry_after)


def _spell_status(response: Response) -> Response:
    """Write the status as `404 Not Found`: werkzeug uses capitals, which `ollama` would show."""
    with contextlib.suppress(ValueError):  # 499 has no name
        phrase = HTTPStatus(response.status_code).phrase
        response.status = f"{response.status_code} {phrase}"
    return response


def _client_gone(_error: ClientGone) -> Response:
    current_record().reason = CLIENT_LEFT
    return Response(status=499)  # for the log only; the number is nginx's and Ollama's


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status not in _PLAIN:
        return error_response(ProxyError(error.description or error.name, status=status))
    response = Response(_PLAIN[status], status, content_type="text/plain")
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def _unexpected(error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return error_response(ProxyError("internal error; see the service's log"))
