"""Calls to a tokenizer server, for tests."""

import hashlib
import json
from collections.abc import Mapping
from http.client import HTTPConnection
from typing import Any


class Caller:
    """Calls a server as the vendor's program does: one connection for each call."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The answer of one call; `body` is sent as it is if it is bytes, else as JSON."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, sent, {"Connection": "close", **(headers or {})})
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        return (response.status, answer)

    def post(self, path: str, body: Any) -> Any:
        """The answer to a POST, which must be a 200."""
        status, answer = self("POST", path, body)
        assert status == 200, answer
        return answer

    def get(self, path: str) -> Any:
        """The answer to a GET, which must be a 200."""
        status, answer = self("GET", path)
        assert status == 200, answer
        return answer


def vendor_run(call: Caller, prompt: str, ids: list[int]) -> tuple[str, str]:
    """What the vendor's program asks for one answer; the text it streams, and the last reply."""
    call.post("/encode", {"text": prompt})
    streamed = [
        call.post("/decode", {"token_ids": ids[start : start + 3]})["text"]
        for start in range(0, len(ids), 3)
    ]
    return "".join(streamed), call.post("/decode", {"token_ids": ids})["text"]


def sha256(text: str) -> str:
    """The hex sha256 of a text, as the proxy computes it."""
    return hashlib.sha256(text.encode()).hexdigest()
