"""Hostile, broken and slow clients of the server, over real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.slow_client_app import THREADS
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

Address = tuple[str, int]


class Server:
    def __init__(self, folder: Path, connections: int) -> None:
        self.record = folder / "record"
        self.record.touch()
        self.log = folder / "log"
        config = folder / "config.py"
        with socket.create_server(("127.0.0.1", 0)) as listener, self.log.open("wb") as log:
            config.write_text(
                f"bind = 'fd://{listener.fileno()}'\n"
                "worker_class = 'tests.server.slow_client_app.ImpatientWorker'\n"
                f"threads = {THREADS}\n"
                f"worker_connections = {connections}\n"
                "graceful_timeout = 3\n"
                "keepalive = 5\n"
                "control_socket_disable = True\n"
                "from axproxy.ops.logs import configure_logging\n"
                "from axproxy.settings import Settings\n"
                "configure_logging(Settings())\n"
            )
            self.address: Address = listener.getsockname()[:2]
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "gunicorn",
                    "-c",
                    str(config),
                    "tests.server.slow_client_app:make_app()",
                ],
                env={**os.environ, "PYTHONPATH": str(ROOT), "RECORD": str(self.record)},
                cwd=folder,
                stderr=log,
                pass_fds=[listener.fileno()],
            )

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=60)
        finally:
            self.process.kill()

    def connect(self, *, small_window: bool = False) -> socket.socket:
        client = socket.socket()
        client.settimeout(60)
        if small_window:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(self.address)
        return client

    def exchange(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """The reply's status, headers and body, read until the server hangs up."""
        with self.connect() as client:
            client.sendall(request)
            return parsed(everything(client))

    def healthy(self) -> bool:
        return self.exchange(HEALTH)[0] == 200


def everything(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def parsed(reply: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = reply.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


def post(path: str, body: bytes, *headers: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def asks(prompt: str, stream: bool = True) -> bytes:
    return post("/generate", json.dumps({"prompt": prompt, "stream": stream}).encode())


Start = Callable[[int], Server]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    servers: list[Server] = []

    def start_one(connections: int) -> Server:
        servers.append(Server(tmp_path_factory.mktemp("server"), connections))
        return servers[-1]

    yield start_one
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(start: Start) -> Server:
    return start(500)


@pytest.fixture
def crowd() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def test_silent_clients_and_incomplete_requests_hold_up_no_other(
    server: Server, crowd: contextlib.ExitStack
) -> None:
    begun = (b"", b"POST /generate HTTP/1.1\r\nHost: lo", asks("Hi")[:-1])
    for number in range(150):
        client = crowd.enter_context(server.connect())
        client.sendall(begun[number % len(begun)])

    assert server.healthy()
    status, _, body = server.exchange(post("/generate", b'{"prompt":"Hi"}', "Connection: close"))
    assert (status, json.loads(body)["text"]) == (200, "Hello")


def test_a_request_may_come_one_byte_at_a_time(server: Server) -> None:
    with server.connect() as client:
        for byte in post("/generate", b'{"prompt":"Hi"}', "Connection: close"):
            client.sendall(bytes([byte]))
        assert parsed(everything(client))[0] == 200


def test_a_connection_is_used_again_even_for_requests_sent_at_once(server: Server) -> None:
    with server.connect() as client:
        client.sendall(asks("Hi", stream=False) * 3 + HEALTH)
        replies = everything(client)

    assert replies.count(b"HTTP/1.1 200 OK") == 4
    assert replies.count(b'"text":"Hello"') == 3


def test_a_client_that_expects_100_continue_gets_it_before_its_body(server: Server) -> None:
    request = post("/generate", b'{"prompt":"Hi"}', "Expect: 100-continue", "Connection: close")
    head, _, body = request.partition(b"\r\n\r\n")
    with server.connect() as client:
        client.sendall(head + b"\r\n\r\n")
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert everything(client).startswith(b"HTTP/1.1 200 OK\r\n")


MALFORMED = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "a method in small letters": (b"get / HTTP/1.1\r\n\r\n", 400),
    "another version": (b"GET / HTTP/3.0\r\n\r\n", 505),
    "HTTP/2 without asking": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a bare line feed": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "a NUL in a header": (b"GET / HTTP/1.1\r\nA: \0\r\n\r\n", 400),
    "a header without a name": (b"GET / HTTP/1.1\r\n: x\r\n\r\n", 400),
    "a folded header": (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "two lengths": (post("/generate", b"{}", "Content-Length: 3"), 400),
    "a length and chunks": (post("/generate", b"{}", "Transfer-Encoding: chunked"), 400),
    "an unknown coding": (
        b"POST /generate HTTP/1.1\r\nTransfer-Encoding: zip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "a mount point of its own": (
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nSCRIPT_NAME: /x\r\n\r\n",
        400,
    ),
    "another expectation": (post("/generate", b"{}", "Expect: wonders"), 417),
    "a long address": (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", 414),
    "a long header": (b"GET / HTTP/1.1\r\nA: " + b"a" * 9000 + b"\r\n\r\n", 431),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    "headers without an end": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20000, 431),
    "a body that is too large": (
        b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n{",
        413,
    ),
    "a body of many gigabytes": (
        b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999999\r\n\r\n{",
        413,
    ),
}


@pytest.mark.parametrize(("request_", "expected"), MALFORMED.values(), ids=list(MALFORMED))
def test_what_is_not_http_is_refused_in_json(
    server: Server, request_: bytes, expected: int
) -> None:
    status, headers, body = server.exchange(request_)

    assert status == expected
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["X-Request-Id"]
    assert list(json.loads(body)) == ["error"]


def test_the_server_refuses_in_the_dialect_of_the_api_that_was_called(server: Server) -> None:
    _, _, body = server.exchange(b"POST /v1/chat/completions HTTP/1.1\r\nA: \0\r\n\r\n")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


def test_nothing_of_a_malformed_request_is_logged(server: Server) -> None:
    server.exchange(b"my private prompt\r\n\r\n")
    server.exchange(b"GET /x?my-private-query HTTP/1.1\r\nA: my private \0\r\n\r\n")
    server.exchange(b"GET /x\x1b[31m?my-private-query HTTP/1.1\r\nA: my private\r\n\r\n")

    eventually(lambda: "GET /x 400" in server.log.read_text())
    assert "private" not in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


def test_a_client_that_stops_reading_loses_the_card(
    server: Server, crowd: contextlib.ExitStack
) -> None:
    server.record.write_text("")
    client = crowd.enter_context(server.connect(small_window=True))
    client.sendall(asks("endless"))

    eventually(server.record.read_text)
    assert server.healthy()
    eventually(lambda: "a client took nothing of its answer" in server.log.read_text())
    assert "Traceback" not in server.log.read_text()


def test_a_client_that_reads_none_of_its_answers_is_disconnected(
    server: Server, crowd: contextlib.ExitStack
) -> None:
    client = crowd.enter_context(server.connect(small_window=True))
    client.setblocking(False)
    unsent = memoryview(HEALTH.replace(b"close", b"keep-alive") * 20_000)

    def noticed() -> bool:
        nonlocal unsent
        with contextlib.suppress(OSError):  # the server takes no more for now, or has let it go
            unsent = unsent[client.send(unsent) :]
        return "reads none of its answers" in server.log.read_text()

    eventually(noticed)
    assert server.healthy()


def test_a_request_beyond_the_queue_is_refused_at_once(
    server: Server, crowd: contextlib.ExitStack
) -> None:
    for _ in range(THREADS):
        crowd.enter_context(server.connect()).sendall(asks("wait"))

    status, headers, body = eventually(lambda: refused(server))

    assert (status, headers["Retry-After"]) == (503, "5")
    assert json.loads(body)["error"].startswith("server busy")
    assert server.healthy()


def refused(server: Server) -> tuple[int, dict[str, str], bytes] | None:
    reply = server.exchange(post("/generate", b'{"prompt":"Hi"}', "Connection: close"))
    return reply if reply[0] == 503 else None


def test_when_all_connections_are_taken_the_one_that_waits_longest_is_closed(
    start: Start, crowd: contextlib.ExitStack
) -> None:
    server = start(20)
    half = crowd.enter_context(server.connect())
    half.sendall(b"POST /api/chat HTTP/1.1\r\nHo")
    eventually(server.healthy)
    others = [crowd.enter_context(server.connect()) for _ in range(40)]

    assert server.healthy()
    assert parsed(everything(half))[::2] == (
        503,
        b'{"error":"too many connections are open; try again in a moment"}',
    )
    assert others[0].recv(1) == b""
    others[-1].sendall(HEALTH)
    assert parsed(everything(others[-1]))[0] == 200


def test_idle_connections_do_not_delay_the_stop(start: Start, crowd: contextlib.ExitStack) -> None:
    server = start(500)
    for begun in (b"", b"GET /health HTT", asks("Hi")[:-1]):
        crowd.enter_context(server.connect()).sendall(begun)
    eventually(server.healthy)

    server.process.terminate()
    assert server.process.wait(timeout=60) == 0
