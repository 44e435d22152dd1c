"""Clients that misbehave, against the whole service: what they get, and that no other notices."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.support.service import Service, Start
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

MARKER = "xylophone"


@pytest.fixture(scope="module")
def service(start_shared_service: Start, program: str) -> Service:
    """A service slow enough for clients to leave during an answer or while a prompt is read."""
    mock = "--load-seconds 0.2 --tokens-per-second 100 --prefill-tokens-per-second 200"
    return start_shared_service(AX650_RUNTIME=program, AX650_MOCK_ARGS=mock)


@pytest.fixture
def figures() -> Callable[[str, float], None]:
    """Print the figures of docs/reliability.md; `pytest -rP` shows them."""

    def show(what: str, began: float) -> None:
        print(f"{what}: {time.monotonic() - began:.2f} s")

    return show


def raw_request(prompt: str = "Hi", **more: object) -> bytes:
    body = json.dumps({"prompt": prompt, "max_tokens": 1, **more}).encode()
    head = f"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def connect(service: Service, *, small_window: bool = False) -> socket.socket:
    client = socket.socket()
    client.settimeout(120)
    if small_window:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", service.port))
    return client


def answered(service: Service) -> requests.Response:
    """Send another client's request and wait for its answer."""
    reply = service.post("/generate", {"prompt": "Hello", "max_tokens": 2})
    assert reply.status_code == 200, reply.text
    return reply


def queue(service: Service) -> tuple[bool, int]:
    state = service.health()["queue"]
    return state["answering"], state["waiting"]


# --- clients that leave


@pytest.mark.parametrize("stream", [True, False], ids=["mid-stream", "in one piece"])
def test_a_client_that_leaves_its_answer_frees_the_card_for_the_next(
    service: Service, stream: bool, figures: Callable[[str, float], None]
) -> None:
    with connect(service) as client:
        client.sendall(raw_request("Tell me more. " * 60, stream=stream, max_tokens=2000))
        eventually(lambda: queue(service)[0])
        if stream:
            assert client.recv(4096)

    began = time.monotonic()
    answered(service)
    figures("the next answer", began)


def test_a_client_that_leaves_while_its_prompt_is_read_frees_the_card_for_the_next(
    service: Service, figures: Callable[[str, float], None]
) -> None:
    with connect(service) as client:
        client.sendall(raw_request("word " * 250, stream=True, max_tokens=2000))
        eventually(lambda: queue(service)[0])

    began = time.monotonic()
    answered(service)
    figures("the next answer", began)


def test_a_client_that_disconnects_leaves_the_queue(
    service: Service, figures: Callable[[str, float], None]
) -> None:
    with connect(service) as first:
        first.sendall(raw_request("Tell me more. " * 100, stream=True, max_tokens=2000))
        eventually(lambda: queue(service) == (True, 0))
        with connect(service) as second:
            second.sendall(raw_request())
            eventually(lambda: queue(service) == (True, 1))
        began = time.monotonic()
        eventually(lambda: queue(service) == (True, 0))
        figures("out of the queue", began)

    answered(service)


# --- clients that wait


def test_a_client_that_stops_reading_loses_its_turn(
    start_service: Start, program: str, tmp_path: Path, figures: Callable[[str, float], None]
) -> None:
    reply = tmp_path / "reply"
    reply.write_text(f"{MARKER} " * 5000)
    mock = f"--load-seconds 0.2 --tokens-per-second 0 --context 9999 --reply-file {reply}"
    service = start_service(AX650_RUNTIME=program, AX650_MOCK_ARGS=mock)
    body = {"model": "mock", "prompt": "Hi", "stream": True, "think": False}
    request = requests.Request("POST", f"{service.base}/api/generate", json=body).prepare()
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with connect(service, small_window=True) as client:
        client.sendall(f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode())
        client.sendall(request.body or b"")
        eventually(lambda: queue(service)[0])
        began = time.monotonic()
        assert service.post("/generate", {"prompt": "Hi", "max_tokens": 2}).status_code == 200
        figures("the next answer", began)

    eventually(lambda: "a client took nothing of its answer for 10 s" in service.log.read_text())
    assert MARKER not in service.log.read_text()
    assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize("program", ["mock"], indirect=True)
def test_500_idle_and_half_sent_requests_delay_no_others(
    service: Service, figures: Callable[[str, float], None]
) -> None:
    half_body = raw_request()[:-5]
    with contextlib.ExitStack() as crowd:
        for begun, many in ((b"", 200), (b"POST /api/chat HTTP/1.1\r\nHo", 200), (half_body, 100)):
            for _ in range(many):
                crowd.enter_context(connect(service)).sendall(begun)
        began = time.monotonic()
        assert service.health()["queue"]["waiting"] == 0
        figures("/health", began)
        began = time.monotonic()
        answered(service)
        figures("an answer", began)


@pytest.mark.parametrize("program", ["mock"], indirect=True)
def test_a_request_sent_byte_by_byte_gets_a_408_when_its_time_is_over(service: Service) -> None:
    with connect(service) as client:
        client.sendall(b"POST /api/chat HTTP/1.1\r\n")
        client.setblocking(False)
        reply = b""
        began = time.monotonic()

        def dripped() -> bool:
            nonlocal reply
            with contextlib.suppress(BlockingIOError):
                reply += client.recv(4096)
            if not reply:
                client.send(b"A")
            return bool(reply)

        eventually(dripped)

    assert reply.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert json.loads(reply.partition(b"\r\n\r\n")[2]) == {
        "error": "the request did not arrive in time; send it again, all at once"
    }
    assert time.monotonic() - began >= 9


# --- very many clients


def test_a_thousand_clients_at_once_get_answers_or_clean_refusals(
    start_service: Start, figures: Callable[[str, float], None]
) -> None:
    mock = "--load-seconds 0.2 --tokens-per-second 0 --prefill-tokens-per-second 0"
    service = start_service(AX650_MOCK_ARGS=mock)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2048)), hard))

    async def ask() -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(raw_request())
        reply = await reader.read()
        writer.close()
        head, _, body = reply.partition(b"\r\n\r\n")
        return head.split()[1], body

    async def burst() -> list[tuple[bytes, bytes]]:
        return await asyncio.gather(*(ask() for _ in range(1000)))

    began = time.monotonic()
    replies = asyncio.run(asyncio.wait_for(burst(), 200))
    figures("all of them", began)

    counts = collections.Counter(status for status, _ in replies)
    assert set(counts) == {b"200", b"503"}
    assert counts[b"200"] >= 65  # one being answered, 64 in the queue
    assert all(json.loads(body) for _, body in replies)
    began = time.monotonic()
    answered(service)
    figures("the next answer", began)


# --- the log


def test_a_full_disk_under_the_log_is_reported_once_and_answers_go_on(start_service: Start) -> None:
    service = start_service(AX650_LOG_FILE="/dev/full")
    for _ in range(3):
        answered(service)

    logged = service.log.read_text()
    assert logged.count("the log file /dev/full cannot be written (No space left on device)") == 1
    assert "Traceback" not in logged
    assert "Logging error" not in logged


def test_the_log_has_the_ids_of_requests_but_not_their_content(
    start_service: Start, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    service = start_service(AX650_LOG_FILE=str(log), AX650_API_KEY=f"key-{MARKER}")
    headers = {"Authorization": f"Bearer key-{MARKER}"}
    body = {"prompt": f"{MARKER} <|im_start|>", "stream": True, "stop": [MARKER[::-1]]}
    for path, number in (("/generate", "first"), (f"/nothing?{MARKER}", "second")):
        reply = service.post(path, body, headers={**headers, "X-Request-Id": number})
        assert reply.headers["X-Request-Id"] == number
        if path == "/generate":
            text = "".join(json.loads(line).get("text", "") for line in reply.text.splitlines())
            assert MARKER in text

    eventually(lambda: "[second] POST /nothing 404" in log.read_text())
    assert "[first] POST /generate 200" in log.read_text()
    for text in (log.read_text(), service.log.read_text()):
        assert MARKER not in text


def test_a_log_without_its_folder_stops_no_answer(start_service: Start, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    service = start_service(AX650_LOG_FILE=str(folder / "log"))
    (folder / "log").unlink()
    folder.rmdir()

    for _ in range(3):
        answered(service)

    assert service.log.read_text().count("cannot be written (No such file or directory)") == 1
