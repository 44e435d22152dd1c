"""Requests as the vendor's HTTP client sends them: one connection each, headers in its order."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import BinaryIO

_TIMEOUT = 10.0  # seconds for connecting, and for each silence while reading or writing
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: .*)?\r\n")


class NoReply(Exception):
    """No complete HTTP reply: the server refused, closed, sent garbage, or was silent for 10 s."""


@dataclass(frozen=True)
class Address:
    """An IPv4 address and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Reply:
    """Status and body of an HTTP reply."""

    status: int
    body: bytes


def get(address: Address, target: str) -> Reply:
    """Send GET `target` and return the reply.  Raises NoReply."""
    return _exchange(address, f"GET {target} HTTP/1.1", b"", "")


def post(address: Address, target: str, body: str) -> Reply:
    """Send the JSON text `body` by POST and return the reply.  Raises NoReply."""
    raw = body.encode()
    length = f"Content-Length: {len(raw)}\r\nContent-Type: application/json\r\n"
    return _exchange(address, f"POST {target} HTTP/1.1", raw, length)


def _exchange(address: Address, request_line: str, body: bytes, length: str) -> Reply:
    head = (
        f"{request_line}\r\nAccept: */*\r\nConnection: close\r\n{length}"
        f"Host: {address}\r\nUser-Agent: cpp-httplib/0.15.3\r\n\r\n"
    )
    try:
        with socket.create_connection((address.host, address.port), _TIMEOUT) as connection:
            connection.sendall(head.encode() + body)
            with connection.makefile("rb") as stream:
                return _read_reply(stream)
    except (OSError, ValueError) as error:
        raise NoReply(str(error)) from error


def _read_reply(stream: BinaryIO) -> Reply:
    status = _STATUS_LINE.fullmatch(stream.readline())
    if status is None:
        raise NoReply("no status line")
    headers = {}
    while (line := stream.readline()) != b"\r\n":
        if not line:
            raise NoReply("closed in the headers")
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = _read_chunks(stream)
    elif "content-length" in headers:
        body = _read_exactly(stream, int(headers["content-length"]))
    else:
        body = stream.read()
    return Reply(int(status[1]), body)


def _read_chunks(stream: BinaryIO) -> bytes:
    parts = []
    while size := int(stream.readline().split(b";")[0], 16):
        parts.append(_read_exactly(stream, size))
        stream.readline()
    return b"".join(parts)


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise NoReply("closed in the body")
    return data
