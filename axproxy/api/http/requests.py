"""What applies to every request before its route: paths, the size of the body, methods."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING

from flask import Blueprint, Response, abort, request
from gunicorn.http.errors import ParseException

from axproxy.api.http.memory import let_memory_go, take_memory_for
from axproxy.api.http.origins import site_of
from axproxy.api.http.policy import LARGEST_BODY
from axproxy.errors import BodyTooLarge, ClientError
from axproxy.messages import ChatRequest, packed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


# In the WSGI environment of a request: who sends it, by which named key, and what counts it.
CLIENT = "axproxy.client"
NAMED_KEY = "axproxy.named_key"
COUNT = "axproxy.count"

_READ_SIZE = 64 * 1024  # bytes
_SLASHES = re.compile("/{2,}")


def read_body() -> bytes:
    """Return the body of the present request, whatever its content type.

    `curl -d` labels JSON as a form.  Raises `BodyTooLarge` after reading hardly more than
    `LARGEST_BODY`, `ClientError` if the body ends early, and `Busy` if there is no memory for it.
    """
    if (request.content_length or 0) > LARGEST_BODY:
        raise _too_large()
    body = bytearray()
    # Flask's own limit truncates a chunked body silently, so the bytes are counted here.
    while piece := _read(_READ_SIZE):
        body += piece
        if len(body) > LARGEST_BODY:
            raise _too_large()
    take_memory_for(body, request.environ)
    return bytes(body)


def with_client(chat: ChatRequest) -> ChatRequest:
    """Return `chat` as a request of the client that sends the present request.

    Called once it is parsed, this also gives back the memory that only the parsing needed.  Raises
    `TooManyRequests`.
    """
    chat = replace(chat, client=request.environ.get(CLIENT, ""), address=counted_address())
    if isinstance(chat.format, Mapping):
        chat = replace(chat, format=packed(chat.format))
    let_memory_go(chat, request.environ)
    return chat


def counted_address() -> str:
    """Return whose turn the present request takes, and count it for its key, if that has a name.

    That is the key's name, else the address.  Raises `TooManyRequests`.
    """
    if count := request.environ.get(COUNT):
        count()
    if key := request.environ.get(NAMED_KEY):
        return f"key {key.name}"  # no address has a blank
    return site_of(request.remote_addr or "")


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
    """Route GET on `path` to `view`, without HEAD: Ollama answers that on a few paths only."""

    @wraps(view)
    def without_head() -> Response:
        if request.method == "HEAD":
            abort(405, valid_methods=["GET"])
        return view()

    routes.get(path)(without_head)


def tidy_paths(app: WSGIApplication) -> WSGIApplication:
    """Wrap `app` so that `//api/chat` and `/api/chat/` are `/api/chat`.

    Ollama redirects them, but many clients send a redirected POST without its body.
    """

    def tidied(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = _SLASHES.sub("/", environ.get("PATH_INFO", ""))
        environ["PATH_INFO"] = path.rstrip("/") or "/"
        return app(environ, start_response)

    return tidied
