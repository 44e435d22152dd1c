"""Driving the runtime directly, and the service as a client does; as little HTTP as possible."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any

from benchmarks.timing import Run

TIMEOUT = 60.0  # seconds of silence


class Broken(Exception):
    """The answer is not what was asked for, so nothing can be measured."""


def call(port: int, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """Status and body of one request on a connection of its own."""
    with _asked(port, method, path, body) as connection:
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
    head, _, content = b"".join(parts).partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), content


def directly(port: int, prompt: str) -> Run:
    """The tightest possible poller: reset, generate, then poll without any pause.

    What another run left behind is drained before the clock starts.
    """
    while not _poll(port)[1]:
        pass
    begun = time.monotonic()
    _insist(port, "/api/reset", {})
    _insist(port, "/api/generate", {"prompt": prompt})
    arrivals: list[tuple[float, int]] = []
    characters, done = 0, False
    while not (done and arrivals):
        text, done = _poll(port)
        if text:
            characters += len(text)
            arrivals.append((time.monotonic(), characters))
    return Run(begun, tuple(arrivals))


def ask(port: int, request: Any) -> socket.socket:
    """Sends a chat and does not wait for the answer."""
    return _asked(port, "POST", "/api/chat", request)


def lines(connection: socket.socket) -> Iterator[tuple[float, dict[str, Any]]]:
    """The lines of a streamed answer and when each came.  Raises `Broken`."""
    reply = HTTPResponse(connection)
    reply.begin()
    if reply.status != 200:
        raise Broken(f"status {reply.status}: {reply.read().decode(errors='replace')}")
    while line := reply.readline():
        now = time.monotonic()
        value = json.loads(line)
        if "error" in value:
            raise Broken(value["error"])
        yield now, value


def through_the_service(port: int, request: Any) -> tuple[Run, dict[str, Any]]:
    """A streamed chat, and its last line.  Raises `Broken`."""
    begun = time.monotonic()
    with ask(port, {**request, "stream": True}) as connection:
        return followed(connection, begun)


def followed(connection: socket.socket, begun: float) -> tuple[Run, dict[str, Any]]:
    """The rest of a streamed chat, and its last line.  Raises `Broken`."""
    arrivals: list[tuple[float, int]] = []
    characters = 0
    last: dict[str, Any] = {}
    for now, last in lines(connection):
        if text := last["message"]["content"]:
            characters += len(text)
            arrivals.append((now, characters))
    if not last.get("done") or not arrivals:
        raise Broken("the answer has no end, or no text")
    return Run(begun, tuple(arrivals)), last


def chat(*said: str, **options: Any) -> dict[str, Any]:
    """A conversation: the user's words, the model's, the user's, ..."""
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]
    return {"model": "mock", "messages": messages, "options": options}


def _asked(port: int, method: str, path: str, body: Any) -> socket.socket:
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(head.encode() + content)
    except BaseException:
        connection.close()
        raise
    return connection


def _poll(port: int) -> tuple[str, bool]:
    status, body = call(port, "GET", "/api/generate_provider")
    if status != 200:
        raise Broken(f"the runtime answered a poll with status {status}")
    answer = json.loads(body)
    return answer["response"], answer["done"]


def _insist(port: int, path: str, body: Any) -> None:
    """Until it is accepted: "llm is running" is normal while a reset is worked on."""
    while (status := call(port, "POST", path, body)[0]) == 400:
        pass
    if status != 200:
        raise Broken(f"the runtime refused {path} with status {status}")
