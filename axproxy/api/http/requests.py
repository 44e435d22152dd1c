"""What every request meets before its route: tidy paths, bodies of a sane size, methods."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING

from flask import Blueprint, Response, abort, request
from gunicorn.http.errors import ParseException

from axproxy.errors import BodyTooLarge, ClientError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LARGEST_BODY = 4 * 1024 * 1024  # bytes; many times what fits the window of any model for the card

_PIECE = 64 * 1024  # bytes
_SLASHES = re.compile("/{2,}")


def read_body() -> bytes:
    """The body of the present request, whatever its content type says: `curl -d` calls JSON a form.

    Raises `BodyTooLarge` having read hardly more than `LARGEST_BODY`, and `ClientError` when the
    body breaks off.
    """
    if (request.content_length or 0) > LARGEST_BODY:
        raise _too_large()
    body = bytearray()
    # Flask's own limit cuts a chunked body off at it without a word, so we count ourselves.
    while piece := _read(_PIECE):
        body += piece
        if len(body) > LARGEST_BODY:
            raise _too_large()
    return bytes(body)


def _read(size: int) -> bytes:
    try:
        return request.stream.read(size)
    except (OSError, ParseException) as error:  # the body ended early, or a chunk is malformed
        raise ClientError("the request body broke off; send it again") from error


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(
        f"the request body is larger than {LARGEST_BODY} bytes; send a shorter conversation"
    )


def get_only(routes: Blueprint, path: str, view: Callable[[], Response]) -> None:
    """Answers GET on `path` and nothing else: Flask would take HEAD, which Ollama has only here and
    there."""

    @wraps(view)
    def without_head() -> Response:
        if request.method == "HEAD":
            abort(405, valid_methods=["GET"])
        return view()

    routes.get(path)(without_head)


def tidy_paths(app: WSGIApplication) -> WSGIApplication:
    """`app`, for which `//api/chat` and `/api/chat/` are `/api/chat`.

    Ollama redirects those, and a redirected POST arrives without its body from many clients.
    """

    def tidied(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = _SLASHES.sub("/", environ.get("PATH_INFO", ""))
        environ["PATH_INFO"] = path.rstrip("/") or "/"
        return app(environ, start_response)

    return tidied
