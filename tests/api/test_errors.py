"""Errors are JSON or plain text, never HTML, never a traceback."""

from __future__ import annotations

import io
from typing import Any

import pytest
from flask.testing import FlaskClient

from axproxy.api.http.requests import LARGEST_BODY

OLLAMA = "generate chat show pull push copy create embed embeddings"
POSTS = ["/generate", "/load", *(f"/api/{name}" for name in OLLAMA.split())]


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE", "PUT"])
@pytest.mark.parametrize("path", ["/nothing", "/api", "/api/tags/x", "/static/x", "/%ff"])
def test_an_unknown_path_is_plain_text(client: FlaskClient, method: str, path: str) -> None:
    reply = client.open(path, method=method)

    assert reply.status_code == 404
    assert reply.content_type == "text/plain"
    assert reply.data == (b"" if method == "HEAD" else b"404 page not found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/api/chat", "POST"),
        ("POST", "/api/tags", "GET, HEAD"),
        ("GET", "/api/delete", "DELETE"),
        ("HEAD", "/api/status", "GET"),
        ("HEAD", "/api/ps", "GET"),
        ("HEAD", "/api/experimental/model-recommendations", "GET"),
        ("GET", "/api/blobs/sha256:1", "HEAD, POST"),
        ("GET", "/api/embed", "POST"),
        ("PUT", "/health", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_plain_text(
    client: FlaskClient, method: str, path: str, allow: str
) -> None:
    reply = client.open(path, method=method)

    assert reply.status_code == 405
    assert reply.content_type == "text/plain"
    assert reply.data == (b"" if method == "HEAD" else b"405 method not allowed")
    assert reply.headers["Allow"] == allow


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", "200 OK"), ("/nothing", "404 Not Found"), ("/api/chat", "405 Method Not Allowed")],
)
def test_a_status_is_written_in_its_usual_case(client: FlaskClient, path: str, status: str) -> None:
    assert client.get(path).status == status


@pytest.mark.parametrize("path", ["/api/generate/", "//api/generate", "/api//generate//"])
def test_a_path_with_extra_slashes_keeps_the_body_of_a_post(client: FlaskClient, path: str) -> None:
    reply = client.post(
        json={"model": "qwen3:0.6b", "prompt": "Hi", "stream": False},
        environ_overrides={"PATH_INFO": path},
    )

    assert reply.status_code == 200
    assert reply.get_json()["response"] == "Hello"
    assert client.get(environ_overrides={"PATH_INFO": "//"}).data == b"Ollama is running"


class Endless(io.RawIOBase):
    """A body that counts how much of it was read."""

    taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        self.taken += size
        return b" " * size


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_is_too_large_is_not_read_to_its_end(
    client: FlaskClient, path: str, chunked: bool
) -> None:
    body = Endless()
    sized: dict[str, Any] = (
        {"wsgi.input_terminated": True} if chunked else {"CONTENT_LENGTH": str(LARGEST_BODY + 1)}
    )
    reply = client.post(path, environ_overrides={"wsgi.input": body, **sized})

    assert reply.status_code == 413
    assert "larger than 4194304 bytes" in reply.get_json()["error"]
    assert body.taken <= (LARGEST_BODY + 64 * 1024 if chunked else 0)
