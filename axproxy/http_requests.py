"""What every request meets before its route: tidy paths, and bodies of a sane size."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from axproxy.errors import BodyTooLarge

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LARGEST_BODY = 4 * 1024 * 1024  # bytes; many times what fits the window of any model for the card

_SLASHES = re.compile("/{2,}")


def read_body() -> bytes:
    """The body of the present request, whatever its content type says: `curl -d` calls JSON a form.

    Reads no more than `LARGEST_BODY`, which the app must be configured with; raises `BodyTooLarge`.
    """
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        raise BodyTooLarge(
            f"the request body is larger than {LARGEST_BODY} bytes; send a shorter conversation"
        ) from error


def tidy_paths(app: WSGIApplication) -> WSGIApplication:
    """`app`, for which `//api/chat` and `/api/chat/` are `/api/chat`.

    Ollama redirects those, and a redirected POST arrives without its body from many clients.
    """

    def tidied(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = _SLASHES.sub("/", environ.get("PATH_INFO", ""))
        environ["PATH_INFO"] = path.rstrip("/") or "/"
        return app(environ, start_response)

    return tidied
