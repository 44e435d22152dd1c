"""Connections: keep-alive, limits, and how few the vendor's program can serve."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.mock.byte_tokenizer import ByteTokenizer
from tests.mock.conftest import Runtime, Start, eventually, read_to_end, runtime_in, wait_readable

pytestmark = pytest.mark.integration

PROBE = b"OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_PROBE = b"OPTIONS / HTTP/1.1\r\nConnection: close\r\n\r\n"


def head_of(connection: socket.socket) -> bytes:
    """Return the next response, which must have no body."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        assert piece, data
        data += piece
    return data


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A simulator shared by all tests that change nothing in it."""
    tokenizer = ByteTokenizer()
    runtime = runtime_in(tmp_path_factory.mktemp("shared"), tokenizer, ready=False)
    try:
        yield runtime.ready()
    finally:
        runtime.close()
        tokenizer.close()


def test_a_connection_serves_five_requests(runtime: Runtime) -> None:
    with runtime.connect() as connection:
        heads = []
        for _ in range(5):
            connection.sendall(PROBE)
            heads.append(head_of(connection))
        rest = connection.recv(1)

    assert all(b"\r\nKeep-Alive: timeout=5, max=5\r\n" in head for head in heads[:4])
    assert b"\r\nConnection: close\r\n" in heads[4]
    assert rest == b""


def test_seven_silent_connections_block_no_others(runtime: Runtime) -> None:
    silent = [runtime.connect() for _ in range(7)]
    begun = time.monotonic()
    runtime.exchange(LAST_PROBE)
    took = time.monotonic() - begun
    for connection in silent:
        connection.close()

    assert took < 4  # five if they did


def test_a_pipelined_request_is_dropped(runtime: Runtime) -> None:
    with runtime.connect() as connection:
        connection.sendall(PROBE + PROBE)
        head_of(connection)

        assert not wait_readable(connection, 0.3)
        connection.sendall(LAST_PROBE)
        assert read_to_end(connection).count(b"HTTP/1.1 ") == 1


def test_sixty_parallel_polls_are_all_answered(runtime: Runtime) -> None:
    connections = [runtime.connect() for _ in range(60)]
    for connection in connections:
        connection.sendall(LAST_PROBE)
    answers = [read_to_end(connection) for connection in connections]
    for connection in connections:
        connection.close()

    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)


NOT_FOUND = (404, b"")
INVALID = (400, b'{"error": "Invalid request format"}')
OK = (200, b'{"status": "ok"}')
CLOSE = "Connection: close\r\n"
# name: (request without body, headers, body, (status, body of the response))
REQUESTS: dict[str, tuple[str, str, bytes, tuple[int, bytes]]] = {
    "OPTIONS *": ("OPTIONS *", "", b"", (200, b"")),
    "generate is POST only": ("GET /api/generate", "", b"", NOT_FOUND),
    "PUT": ("PUT /api/generate", "Content-Length: 0\r\n", b"", NOT_FOUND),
    "HEAD of a POST route": ("HEAD /api/generate", "", b"", NOT_FOUND),
    "openai": ("GET /v1/models", "", b"", NOT_FOUND),
    "TRACE": ("TRACE /", "", b"", (400, b"")),
    "encoded path": ("GET /api/sto%70?x", "", b"", OK),
    "array body": ("POST /api/generate", "", b"[]", INVALID),
    "text body": ("POST /api/generate", "", b'"prompt"', INVALID),
    "bad UTF-8": ("POST /api/generate", "", b'{"prompt": "\xff"}', INVALID),
    "a curl form": (
        "POST /api/reset",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        b"{}",
        OK,
    ),
    "large curl form": (
        "POST /api/reset",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        b"{" + b" " * 8192 + b"}",
        (413, b""),
    ),
    "large text": (
        "POST /api/reset",
        "Content-Type: text/plain\r\n",
        b"{" + b" " * 20_000 + b"}",
        OK,
    ),
    "5 MB": ("POST /api/reset", "", b"{" + b" " * 5_000_000 + b"}", OK),
    "reset takes any JSON": ("POST /api/reset", "", b"null", OK),
    "null system prompt": ("POST /api/reset", "", b'{"system_prompt": null}', (500, b"")),
    "null content": (
        "POST /api/chat",
        "",
        b'{"messages": [{"role": 1, "content": null}]}',
        (500, b""),
    ),
    "list content": (
        "POST /api/chat",
        "",
        b'{"messages": [{"role": 1, "content": []}]}',
        (500, b""),
    ),
    "multipart": ("POST /api/reset", "Content-Type: multipart/form-data\r\n", b"{}", (400, b"")),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_and_their_answers(runtime: Runtime, name: str) -> None:
    line, headers, body, expected = REQUESTS[name]
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    eventually(runtime.idle, "the end of the last reset")

    raw = runtime.exchange(f"{line} HTTP/1.1\r\n{CLOSE}{headers}{length}\r\n".encode() + body)

    head, _, text = raw.partition(b"\r\n\r\n")
    assert (int(head.split()[1]), text) == expected
    assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in head


def test_a_long_uri_is_a_414_and_a_bad_request_line_a_400_and_both_keep_the_connection(
    runtime: Runtime,
) -> None:
    with runtime.connect() as connection:
        connection.sendall(b"GET /" + b"x" * 8200 + b" HTTP/1.1\r\nConnection: close\r\n\r\n")
        too_long = head_of(connection)
        connection.sendall(b"nonsense\r\n")
        nonsense = head_of(connection)
        connection.sendall(LAST_PROBE)
        assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")

    keep = b"\r\nContent-Length: 0\r\nKeep-Alive: timeout=5, max=5\r\n\r\n"
    assert too_long == b"HTTP/1.1 414 URI Too Long" + keep
    assert nonsense == b"HTTP/1.1 400 Bad Request" + keep


def test_expect_is_answered_before_the_body_is_read(runtime: Runtime) -> None:
    with runtime.connect() as connection:
        request = (
            f"POST /api/reset HTTP/1.1\r\n{CLOSE}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        connection.sendall(request.encode())
        assert head_of(connection) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")

        assert read_to_end(connection).startswith(b"HTTP/1.1 200 OK\r\n")


def test_http_1_0_closes_without_a_connection_header(runtime: Runtime) -> None:
    raw = runtime.exchange(b"OPTIONS / HTTP/1.0\r\n\r\n")

    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Keep-Alive: timeout=5, max=5" in raw


def test_sampling_keys_are_applied_before_the_type_of_the_prompt_is_checked(start: Start) -> None:
    runtime = start(on_terminal=True)
    runtime.json("POST", "/api/generate", {"prompt": 3, "temperature": 2})

    assert runtime.output.shows("set_llm_config][ 278]: temperature: 2.000000")
    assert "handle_generate" not in runtime.output.text
