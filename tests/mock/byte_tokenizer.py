"""A tokenizer server whose token ids are bytes, with failures on request."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EOS = 256


@dataclass
class Call:
    """One request that the tokenizer got."""

    method: str
    path: str
    request: dict[str, Any]
    length: int
    headers: list[tuple[str, str]]
    raw: bytes


@dataclass
class Answer:
    """A reply that replaces the tokenizer's own."""

    status: int = 200
    body: str = ""
    delay: float = 0.0
    hang_up: bool = False


class ByteTokenizer:
    """Token id = byte; /reset answers `system_tokens` and /encode the bytes of the text."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.instead: dict[str, deque[Answer]] = {}
        self.system_tokens: list[int] = []
        self.vocabulary: dict[str, list[int]] | None = None
        self.connections = 0
        tokenizer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                tokenizer.connections += 1
                super().setup()

            def do_GET(self) -> None:
                tokenizer.reply(self, b"")

            def do_POST(self) -> None:
                tokenizer.reply(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a crashed client
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def fail(self, path: str, *answers: Answer) -> None:
        """Send `answers`, in this order, to the next requests for `path`."""
        self.instead[path] = deque(answers)

    def requests(self, path: str) -> list[dict[str, Any]]:
        return [call.request for call in self.calls if call.path == path]

    def decoded(self) -> list[str]:
        """Return the texts of all /decode requests so far."""
        return [bytes(r["token_ids"]).decode() for r in self.requests("/decode")]

    def runs(self) -> int:
        """Return how many runs have begun: each asks once for the ids of its reply."""
        return len(self.requests("/tokenize"))

    def reply(self, handler: BaseHTTPRequestHandler, raw: bytes) -> None:
        path = handler.path.partition("?")[0]
        request = json.loads(raw) if raw else {}
        headers = list(handler.headers.items())
        self.calls.append(Call(handler.command, handler.path, request, len(raw), headers, raw))
        planned = self.instead.get(path)
        answer = (
            planned.popleft() if planned else Answer(body=json.dumps(self.regular(path, request)))
        )
        if answer.delay:
            time.sleep(answer.delay)
        if answer.hang_up:
            handler.close_connection = True
            return
        body = answer.body.encode()
        status = 404 if body == b"null" else answer.status
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body)

    def regular(self, path: str, request: dict[str, Any]) -> dict[str, Any] | None:
        match path:
            case "/get_uid":
                return {"uid": "uid-28986-0"}
            case "/bos_id":
                return {"bos_id": -1}
            case "/eos_id":
                return {"eos_id": EOS}
            case "/reset":
                return {"token_ids": self.system_tokens}
            case "/encode":
                ids = list(request["text"].encode())
                return {"token_ids": ids, "diff": ids}
            case "/decode":
                ids = [i for i in request["token_ids"] if i < EOS]
                return {"text": bytes(ids).decode("utf-8", "replace")}
            case "/tokenize" if self.vocabulary is not None:
                return {"token_ids": self.vocabulary[request["text"]]}
        return None
