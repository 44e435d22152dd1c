"""Errors as responses: JSON or plain text, never HTML, never a traceback."""

from __future__ import annotations

import contextlib
import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from axproxy.api.encoding import JSON
from axproxy.api.errors import error_body
from axproxy.api.gojson.decode import compact
from axproxy.errors import ClientGone, ProxyError

log = logging.getLogger(__name__)

_PLAIN = {404: "404 page not found", 405: "405 method not allowed"}  # Ollama's own words


def install(app: Flask) -> None:
    """From here on every error of `app` is answered by this module, unless a blueprint does."""
    app.register_error_handler(ProxyError, proxy_error)
    app.register_error_handler(ClientGone, _client_gone)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    app.after_request(_spelt)


def proxy_error(error: ProxyError) -> Response:
    """`error` as the API that was called tells it."""
    body, status = error_body(request.path, error)
    return json_response(body, status, error.retry_after)


def json_response(body: Any, status: int = 200, retry_after: int | None = None) -> Response:
    """`retry_after` is in seconds."""
    response = Response(compact(body), status, content_type=JSON)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _spelt(response: Response) -> Response:
    """Writes the status as `404 Not Found`: werkzeug shouts, and Ollama's command line shows it."""
    with contextlib.suppress(ValueError):  # 499 has no name
        phrase = HTTPStatus(response.status_code).phrase
        response.status = f"{response.status_code} {phrase}"
    return response


def _client_gone(_error: ClientGone) -> Response:
    log.info("%s %s: the client left before its answer began", request.method, request.path)
    return Response(status=499)  # nobody reads it; the number is nginx's and Ollama's


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status not in _PLAIN:
        return proxy_error(ProxyError(error.description or error.name, status=status))
    response = Response(_PLAIN[status], status, content_type="text/plain")
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def _unexpected(error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return proxy_error(ProxyError("internal error; see the service's log"))
