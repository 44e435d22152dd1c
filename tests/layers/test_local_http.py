"""HTTP calls over loopback: what is sent, and what becomes of replies that are late or broken."""

from __future__ import annotations

import gc
import itertools
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from axproxy.local_http import BrokenReply, ConnectionFailed, LocalHTTP, LocalHTTPError, TimedOut
from tests.support.loopback_server import (
    CLOSE,
    HANG,
    RESET,
    LoopbackServer,
    Reply,
    loopback_server,
    reply,
)
from tests.support.ports import own_port

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(name="server")
def server_on_loopback() -> Iterator[LoopbackServer]:
    with loopback_server() as server:
        yield server


@pytest.fixture(name="http")
def connection_to_the_server(server: LoopbackServer) -> Iterator[LocalHTTP]:
    http = LocalHTTP(server.url)
    yield http
    http.close()


def body_of(server: LoopbackServer, http: LocalHTTP, *pieces: bytes) -> bytes:
    """Return the body that is read if the server sends these pieces and closes."""
    server.on("GET", "/", Reply(pieces, then="close"))
    return http.call("GET", "/", timeout=10).body


def test_a_request_leaves_in_one_buffer(
    server: LoopbackServer, http: LocalHTTP, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, writes = threading.get_ident(), []

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def method(connection: socket.socket, data: bytes, *more: Any) -> Any:
            if threading.get_ident() == ours:
                writes.append(data)
            return write(connection, data, *more)

        return method

    for name in ("send", "sendall", "sendmsg"):
        monkeypatch.setattr(socket.socket, name, counted(getattr(socket.socket, name)))
    server.on("POST", "/", reply())
    http.call("POST", "/", json={"prompt": "x" * 100_000}, timeout=10)
    assert len(writes) == 1
    assert server.requests[0].json() == {"prompt": "x" * 100_000}


def test_a_request_has_path_query_host_length_and_the_callers_headers(
    server: LoopbackServer,
) -> None:
    server.on("POST", "/api/x", reply())
    http = LocalHTTP(f"{server.url}/api/", {"X-Own": "1"})
    http.call("POST", "/x", json={"text": "☃"}, params={"wait": 0.5, "q": "a b"}, timeout=10)
    request = server.requests[0]
    assert request.path == "/api/x?wait=0.5&q=a+b"
    assert request.headers == {
        "host": server.url.removeprefix("http://"),
        "accept-encoding": "identity",
        "x-own": "1",
        "content-type": "application/json",
        "content-length": str(len(request.body)),
    }
    assert request.json() == {"text": "☃"}


def test_a_number_that_json_cannot_express_is_not_sent(http: LocalHTTP) -> None:
    with pytest.raises(ValueError, match="JSON"):
        http.call("POST", "/", json={"temperature": float("nan")}, timeout=10)


def test_a_reply_has_its_status_its_headers_in_lower_case_and_its_body(
    server: LoopbackServer, http: LocalHTTP
) -> None:
    server.on("GET", "/", reply(500, json={"error": "☃"}, headers={"EXCEPTION_WHAT": "a: b"}))
    answer = http.call("GET", "/", timeout=10)
    assert (answer.status, answer.json()) == (500, {"error": "☃"})
    assert answer.headers["exception_what"] == "a: b"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"9" * 5000], ids=len)
def test_a_body_that_is_not_json_is_a_value_error(
    server: LoopbackServer, http: LocalHTTP, body: bytes
) -> None:
    server.on("GET", "/", Reply((OK + b"\r\n" + body,), then="close"))
    with pytest.raises(ValueError):  # noqa: PT011 -- each has its own text
        http.call("GET", "/", timeout=10).json()


def test_bytes_that_are_not_utf8_become_replacement_characters(
    server: LoopbackServer, http: LocalHTTP
) -> None:
    server.on("GET", "/", Reply((OK + b'\r\n"\xff"',), then="close"))
    assert http.call("GET", "/", timeout=10).json() == "\ufffd"


def test_a_connection_is_used_again(server: LoopbackServer, http: LocalHTTP) -> None:
    server.on("GET", "/", reply(body="1"), reply(body="2"))
    assert [http.call("GET", "/", timeout=10).body for _ in range(2)] == [b"1", b"2"]
    assert server.connections == 1


def test_a_connection_that_was_closed_while_idle_is_opened_again(
    server: LoopbackServer, http: LocalHTTP
) -> None:
    server.on("GET", "/", reply(body="1", then="close"))
    assert http.call("GET", "/", timeout=10).body == b"1"
    server.wait_until_closed(1)
    assert http.call("GET", "/", timeout=10).body == b"1"
    assert server.connections == 2


def test_bytes_after_a_reply_are_not_taken_for_the_next_one(
    server: LoopbackServer, http: LocalHTTP
) -> None:
    stray = OK + b"Content-Length: 5\r\n\r\nstray"
    first = Reply((OK + b"Content-Length: 1\r\n\r\n1" + b"." * 100_000 + stray,))
    server.on("GET", "/", first, reply(body="2"))
    assert [http.call("GET", "/", timeout=10).body for _ in range(2)] == [b"1", b"2"]


@pytest.mark.parametrize("side", ["request", "reply", "HTTP/1.0"])
def test_a_connection_that_either_side_closes_is_not_used_again(
    server: LoopbackServer, side: str
) -> None:
    headers = {"Connection": "close"}
    http = LocalHTTP(server.url, headers if side == "request" else None)
    answer = reply(headers=headers if side == "reply" else None, body="1")
    if side == "HTTP/1.0":
        answer = Reply((b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1",))
    server.on("GET", "/", answer)
    for _ in range(3):
        assert http.call("GET", "/", timeout=10).body == b"1"
    assert server.connections == 3


def test_an_object_that_is_dropped_closes_its_connection(server: LoopbackServer) -> None:
    server.on("GET", "/", reply())
    http = LocalHTTP(server.url)
    http.call("GET", "/", timeout=10)
    del http
    gc.collect()
    server.wait_until_closed(1)


def test_a_body_without_length_ends_with_the_connection(
    server: LoopbackServer, http: LocalHTTP
) -> None:
    assert body_of(server, http, OK, b"\r\none", b" two") == b"one two"


@pytest.mark.parametrize("length", [b"many", b"-1", b"9" * 5000], ids=len)
def test_a_length_that_is_no_length_counts_as_none(
    server: LoopbackServer, http: LocalHTTP, length: bytes
) -> None:
    assert body_of(server, http, OK, b"Content-Length: " + length + b"\r\n\r\none") == b"one"


@pytest.mark.parametrize("status", [b"204", b"304"])
def test_a_status_without_a_body_is_not_waited_on(
    server: LoopbackServer, http: LocalHTTP, status: bytes
) -> None:
    server.on("GET", "/", Reply((b"HTTP/1.1 " + status + b" \r\n\r\n",), then="hang"))
    assert http.call("GET", "/", timeout=10).body == b""


def test_a_chunked_body_is_put_together(server: LoopbackServer, http: LocalHTTP) -> None:
    chunked = (
        b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n4;x=y\r\n two\r\n0\r\nTrailer: x\r\n\r\n"
    )
    server.on("GET", "/", Reply((OK, chunked)))
    assert [http.call("GET", "/", timeout=10).body for _ in range(2)] == [b"one two"] * 2
    assert server.connections == 1


def test_a_huge_body_is_read_to_its_end(server: LoopbackServer, http: LocalHTTP) -> None:
    pieces = [b"x" * 1_000_000] * 20
    header = OK + b"Content-Length: 20000000\r\n\r\n"
    assert body_of(server, http, header, *pieces) == b"x" * 20_000_000


def test_a_continue_before_the_reply_is_skipped(server: LoopbackServer, http: LocalHTTP) -> None:
    body = body_of(server, http, b"HTTP/1.1 100 Continue\r\n\r\n", OK, b"\r\none")
    assert body == b"one"


def test_header_lines_that_are_no_headers_are_skipped(
    server: LoopbackServer, http: LocalHTTP
) -> None:
    assert body_of(server, http, OK, b"nonsense\r\nContent-Length: 3\r\n\r\none...") == b"one"


@pytest.mark.parametrize(
    "pieces",
    [
        (b"SSH-2.0-OpenSSH\r\n",),
        (b"\x00" * 100_000,),
        (b"HTTP/1.1 OK\r\n\r\n",),
        (b"HTTP/1.1 99 Low\r\n\r\n",),
        (b"HTTP/1.1 " + b"9" * 5000 + b" High\r\n\r\n",),
        (b"HTTP/2 200 OK\r\n\r\n",),
        (OK, b"X: " + b"y" * 100_000),
        (OK, b"Content-Length: 9\r\n\r\nhalf"),
        (OK, b"Content-Length: 999999999999999\r\n\r\nhalf"),
        (OK, b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"),
        (OK, b"Transfer-Encoding: chunked\r\n\r\nmany\r\nhalf"),
        (OK, b"Transfer-Encoding: chunked\r\n\r\n-9\r\nhalf"),
    ],
    ids=lambda pieces: pieces[-1][:45].decode(),
)
def test_a_reply_that_is_not_http_or_not_complete_is_broken(
    server: LoopbackServer, http: LocalHTTP, pieces: tuple[bytes, ...]
) -> None:
    with pytest.raises(BrokenReply):
        body_of(server, http, *pieces)


def test_a_header_block_that_never_ends_is_broken(server: LoopbackServer, http: LocalHTTP) -> None:
    endless = itertools.chain([OK], itertools.repeat(b"X: y\r\n"))
    server.on("GET", "/", Reply(endless))
    with pytest.raises(BrokenReply, match="too many lines"):
        http.call("GET", "/", timeout=10)


@pytest.mark.parametrize("half", [b"Content-Length: 9\r\n\r\nhalf", b"\r\nhalf"], ids=len)
def test_a_reply_that_stops_in_the_middle_is_timed_out(
    server: LoopbackServer, http: LocalHTTP, half: bytes
) -> None:
    server.on("GET", "/", Reply((OK + half,), then="hang"))
    with pytest.raises(TimedOut, match="stopped in the middle"):
        http.call("GET", "/", timeout=0.5)  # enough for the header on a busy machine


def dripping(first: bytes, drop: bytes) -> Iterator[bytes]:
    """Yield a reply of which some bytes come every few milliseconds, without an end."""
    yield first
    while True:
        time.sleep(0.01)
        yield drop


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"", b"H"),
        (OK, b"x"),
        (OK + b"X: ", b"y"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK + b"Content-Length: 100000\r\n\r\n", b"x"),
        (OK + b"\r\n", b"x"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    ],
    ids=["status", "field", "value", "continue", "length", "no length", "chunks", "trailers"],
)
def test_a_reply_that_only_drips_is_timed_out(
    server: LoopbackServer, http: LocalHTTP, first: bytes, drop: bytes
) -> None:
    server.on("GET", "/", Reply(dripping(first, drop)))
    with pytest.raises(TimedOut):
        http.call("GET", "/", timeout=10, read_timeout=0.3)


@pytest.mark.parametrize(
    "first",
    [b"", OK, OK + b"X: ", OK + b"\r\n", OK + b"Content-Length: 999999999999\r\n\r\n"],
    ids=["status", "head", "value", "no length", "huge length"],
)
def test_a_reply_that_never_ends_is_timed_out_in_bounded_memory(
    server: LoopbackServer, http: LocalHTTP, first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("axproxy.local_http.MAX_BODY", 1 << 20)
    server.on("GET", "/", Reply(itertools.chain([first], itertools.repeat(b"y" * 65536))))
    tracemalloc.start()
    try:
        with pytest.raises(TimedOut):
            http.call("GET", "/", timeout=30)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("fault", [CLOSE, RESET], ids=["closed", "reset"])
def test_a_connection_that_ends_before_the_reply_has_failed(
    server: LoopbackServer, http: LocalHTTP, fault: Reply
) -> None:
    server.on("GET", "/", fault)
    with pytest.raises(ConnectionFailed):
        http.call("GET", "/", timeout=10)


def test_a_refused_connection_has_failed() -> None:
    with pytest.raises(ConnectionFailed, match="connection refused"):
        LocalHTTP(f"http://127.0.0.1:{own_port()}").call("GET", "/", timeout=10)


@pytest.mark.parametrize("pieces", [(), (OK,), (OK, b"X: y\r\n")], ids=len)
def test_a_reply_header_that_does_not_come_in_time_is_timed_out(
    server: LoopbackServer, http: LocalHTTP, pieces: tuple[bytes, ...]
) -> None:
    server.on("GET", "/", Reply(pieces, then="hang"))
    with pytest.raises(TimedOut):
        http.call("GET", "/", timeout=0.05)


def test_a_connection_that_is_not_accepted_in_time_is_timed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def connect(connection: socket.socket, _address: object) -> None:
        assert connection.gettimeout() == 0.5
        raise TimeoutError

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(TimedOut):
        LocalHTTP("http://127.0.0.1:1").call("GET", "/", timeout=0.5, read_timeout=9)


def test_the_read_timeout_replaces_the_other_one(server: LoopbackServer, http: LocalHTTP) -> None:
    server.on("GET", "/", HANG)
    began = time.monotonic()
    with pytest.raises(TimedOut):
        http.call("GET", "/", timeout=0.01, read_timeout=0.2)
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("fault", [CLOSE, HANG, Reply((OK, b"Content-Length: 9\r\n\r\n"), "hang")])
def test_after_a_failure_the_next_call_opens_a_new_connection(
    server: LoopbackServer, http: LocalHTTP, fault: Reply
) -> None:
    server.on("GET", "/", fault, reply(body="1"))
    with pytest.raises(LocalHTTPError):
        http.call("GET", "/", timeout=0.5)
    assert http.call("GET", "/", timeout=10).body == b"1"
    assert server.connections == 2
