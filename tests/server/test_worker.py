"""The HTTP application under gunicorn and our worker, over real sockets."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask import Flask

from axproxy.api.http.policy import LARGEST_BODY
from axproxy.engine.protocol import Gone
from axproxy.errors import ClientGone
from axproxy.messages import ChatRequest, Event, Text
from axproxy.models.model import Model
from axproxy.server.request_framing import Label
from axproxy.server.worker import Worker
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import FakeAnswer, FakeEngine, FakeModels
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


PARSER = SimpleNamespace(pieces=SimpleNamespace(give=lambda _: None))


class NoMoreThreads:
    def submit(self, *_: object) -> None:
        raise RuntimeError("can't start new thread")


def test_a_request_that_gets_no_thread_gives_its_place_back() -> None:
    worker = Worker.__new__(Worker)  # gunicorn's own __init__ needs an arbiter
    worker._answering, worker.tpool = 0, NoMoreThreads()
    worker._quick, worker.cfg = worker.tpool, SimpleNamespace(threads=1)
    arrival = SimpleNamespace(label=Label("POST", "/api/chat"))
    connection = SimpleNamespace(arrival=arrival, take_request=lambda: b"", parser=PARSER)

    for _ in range(2):  # refused as busy, the second time, if the first one kept its place
        with pytest.raises(RuntimeError, match="new thread"):
            worker._admit(connection)


def test_a_worker_without_its_master_stops_as_if_it_were_told_to() -> None:
    worker = Worker.__new__(Worker)
    worker.alive, worker.log, worker.ppid = True, logging.getLogger("test"), os.getppid()
    assert worker.is_parent_alive()
    assert worker.alive

    worker.ppid = -1
    assert not worker.is_parent_alive()
    assert not worker.alive  # replies now say "Connection: close", and idle clients are let go


class PatientEngine(FakeEngine):
    """Answers "wait" with nothing, and "begin" with one word, until the client has gone."""

    def answer(self, model: Model, request: ChatRequest, gone: Gone) -> FakeAnswer:
        answer = super().answer(model, request, gone)
        prompt = request.messages[-1].content
        return FakeAnswer(self._until(gone, prompt)) if prompt in ("wait", "begin") else answer

    def _until(self, gone: Gone, prompt: str) -> Iterator[Event]:
        if prompt == "begin":
            yield Text("Hel")
        while not gone():
            time.sleep(0.01)
        Path(os.environ["RECORD"]).write_text("the client has gone")
        raise ClientGone


def make_app() -> Flask:
    return create_app(Settings(), PatientEngine(), FakeModels())


Address = tuple[str, int]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gunicorn") / "record"


@pytest.fixture(scope="module")
def address(record: Path) -> Iterator[Address]:
    config = record.parent / "config.py"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config.write_text(
            f"bind = 'fd://{listener.fileno()}'\n"
            "worker_class = 'axproxy.server.worker.Worker'\n"
            "threads = 4\n"
            "graceful_timeout = 1\n"
            "control_socket_disable = True\n"
        )
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gunicorn",
                "--config",
                str(config),
                "tests.server.test_worker:make_app()",
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT), "RECORD": str(record)},
            cwd=record.parent,
            pass_fds=[listener.fileno()],
        )
        try:
            yield listener.getsockname()[:2]
        finally:
            server.terminate()
            try:
                server.wait(timeout=60)
            finally:
                server.kill()


def post(path: str, body: bytes, *headers: str, version: str = "1.1") -> bytes:
    head = [f"POST {path} HTTP/{version}", "Host: localhost", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def sized(path: str, body: bytes, version: str = "1.1") -> bytes:
    length = f"Content-Length: {len(body)}"
    return post(path, body, length, "Connection: close", version=version)


def exchange(address: Address, request: bytes) -> tuple[bytes, bytes]:
    """The head and the body of the reply to `request`, read until the server hangs up."""
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(request)
        reply = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = reply.partition(b"\r\n\r\n")
    return head, body


def chunk(data: bytes) -> bytes:
    return b"%X\r\n%s\r\n" % (len(data), data)


CHUNKED = ("Transfer-Encoding: chunked", "Connection: close")


def test_a_stream_is_one_chunk_per_line(address: Address) -> None:
    head, body = exchange(address, sized("/generate", b'{"prompt":"Hi","stream":true}'))

    assert b"Transfer-Encoding: chunked" in head
    assert body.startswith(chunk(b'{"text":"Hel"}\n') + chunk(b'{"text":"lo"}\n'))
    assert body.endswith(b"\n\r\n0\r\n\r\n")


def test_a_stream_to_an_old_client_is_not_chunked(address: Address) -> None:
    body = b'{"prompt":"Hi","stream":true}'
    head, body = exchange(address, sized("/generate", body, version="1.0"))

    assert b"chunked" not in head
    assert body.startswith(b'{"text":"Hel"}\n{"text":"lo"}\n')


def test_a_chunked_body_is_read(address: Address) -> None:
    request = post("//generate/", chunk(b'{"prompt":') + chunk(b'"Hi"}') + chunk(b""), *CHUNKED)
    head, body = exchange(address, request)

    assert head.startswith(b"HTTP/1.1 200 ")
    assert b'"text":"Hello"' in body


def test_a_chunked_body_that_is_too_large_is_refused(address: Address) -> None:
    spaces = chunk(b" " * 65536) * (LARGEST_BODY // 65536 + 1)
    head, body = exchange(address, post("/generate", spaces + chunk(b""), *CHUNKED))

    assert head.startswith(b"HTTP/1.1 413 ")
    assert body.startswith(b'{"error":"the request body is larger than')


def test_a_malformed_chunk_is_the_clients_fault(address: Address) -> None:
    head, body = exchange(address, post("/generate", b"zz\r\nxx", *CHUNKED))

    assert head.startswith(b"HTTP/1.1 400 ")
    assert body == b'{"error":"the request body broke off; send it again"}'


@pytest.mark.parametrize(("prompt", "first"), [("wait", b""), ("begin", b'{"text":"Hel"}')])
def test_a_client_that_hangs_up_is_noticed_while_nothing_is_written(
    address: Address, record: Path, prompt: str, first: bytes
) -> None:
    record.unlink(missing_ok=True)
    body = b'{"prompt":"%s","stream":true}' % prompt.encode()
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(sized("/generate", body))
        received = b""
        while first and first not in received:
            received += client.recv(65536)
        if not first:
            exchange(address, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert not record.exists()

    eventually(record.exists)
