"""The tokenizer as a process: it answers the runtime and the proxy over HTTP on the loopback."""

from __future__ import annotations

import json
import logging
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from axproxy.tokenizer.handlers import Answer, BadCall, TokenizerAnswers
from axproxy.tokenizer.tokenizer import TextTokenizer, Untokenizable

log = logging.getLogger(__name__)

LONGEST_BODY = 16 << 20  # bytes
IDLE_TIMEOUT = 60.0  # seconds; a silent connection costs one sleeping thread until then


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: TokenizerServer
    protocol_version = "HTTP/1.1"
    server_version = "axproxy-tokenizer"
    sys_version = ""
    timeout = IDLE_TIMEOUT
    # Head and body leave in one piece, without waiting for acknowledgements: a generation waits
    # for every /decode.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    # What is not HTTP gets JSON, too, and without its own bytes.
    error_content_type = "application/json"
    error_message_format = '{"error": "HTTP status %(code)d"}'

    def do_GET(self) -> None:
        """Answers the runtime's and the proxy's questions."""
        self._send(*self._answered(None))

    def do_POST(self) -> None:
        """Answers the runtime's and the proxy's calls."""
        body = self._body()
        status, answer = 200, self.server.answers.last_resort(self.path)
        try:
            status, answer = self._answered(body)
        finally:
            # Also when something broke: a runtime without an answer is a dead runtime.
            self._send(status, answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are a debugging matter; bodies are never logged."""
        log.debug(format, *args)

    def _answered(self, body: bytes | None) -> tuple[int, Answer]:
        try:
            if self.command == "GET":
                return 200, self.server.answers.get(self.path)
            return 200, self.server.answers.post(self.path, body)
        except (BadCall, Untokenizable) as error:
            return 400, {"error": str(error)}

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            self.close_connection = True  # no telling where the next request would begin
            return None
        if int(length) <= LONGEST_BODY:
            return self.rfile.read(int(length))
        # Read, so that the client reads our answer rather than a reset of the connection.
        rest = int(length)
        while rest and (piece := self.rfile.read(min(rest, LONGEST_BODY))):
            rest -= len(piece)
        return None

    def _send(self, status: int, answer: Answer) -> None:
        # ASCII-escaped, like the vendor's: valid UTF-8 whatever is in it.
        body = json.dumps(answer, separators=(",", ":")).encode()
        self.log_request(status, len(body))
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class TokenizerServer(ThreadingHTTPServer):
    """A thread per connection, so nobody's silence keeps the runtime waiting."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], tokenizer: TextTokenizer) -> None:
        """Raises OSError if the address cannot be had."""
        self.answers = TokenizerAnswers(tokenizer)
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Without the base class's look-up of the host's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)

    @property
    def address(self) -> str:
        """HOST:PORT, with the port that was picked if it was 0."""
        host, port = self.socket.getsockname()[:2]
        return f"{host}:{port}"

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - base class
        """A client that hung up is nobody's fault; anything else is a fault of ours."""
        if isinstance(sys.exception(), OSError):
            log.debug("%s hung up", client_address)
        else:
            log.exception("a call of %s failed", client_address)
