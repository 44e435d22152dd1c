"""Sends requests to the runtime directly and to the service as a client, with minimal HTTP."""

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
    """The answer is wrong or missing, so nothing can be measured."""


def call(port: int, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """Send one request on its own connection and return the status and the body."""
    with asked(port, method, path, body) as connection:
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
    head, _, content = b"".join(parts).partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), content


def directly(port: int, prompt: str) -> Run:
    """Answer `prompt` on the runtime as fast as possible: reset, generate, poll without pause.

    It drains the text of earlier runs before it starts the clock.
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
    """Send a chat without waiting for the answer."""
    return asked(port, "POST", "/api/chat", request)


def lines(connection: socket.socket) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield each line of a streamed answer with the time it came.  Raises `Broken`."""
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
    """Return a streamed chat's run and its last line.  Raises `Broken`."""
    begun = time.monotonic()
    with ask(port, {**request, "stream": True}) as connection:
        return followed(connection, begun)


def followed(connection: socket.socket, begun: float) -> tuple[Run, dict[str, Any]]:
    """Return the rest of a streamed chat and its last line.  Raises `Broken`."""
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


def chat(*texts: str, **options: Any) -> dict[str, Any]:
    """Return a chat request; the texts are in turn the user's and the assistant's."""
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return {"model": "mock", "messages": messages, "options": options}


def asked(port: int, method: str, path: str, body: Any) -> socket.socket:
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
    """Repeat a request until it is accepted; "llm is running" is normal during a reset."""
    while (status := call(port, "POST", path, body)[0]) == 400:
        pass
    if status != 200:
        raise Broken(f"the runtime refused {path} with status {status}")
