"""Serves the tokenizer to the runtime and to the service, over HTTP on the loopback."""

from __future__ import annotations

import json
import logging
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from axproxy.tokenizer.access import TokenizerAccess
from axproxy.tokenizer.handlers import BadCall, JsonObject, TokenizerHandlers
from axproxy.tokenizer.pieces import Untokenizable
from axproxy.tokenizer.tokenizer import TextTokenizer

log = logging.getLogger(__name__)

LONGEST_BODY = 16 << 20  # bytes
IDLE_TIMEOUT = 60.0  # seconds; a silent connection costs one sleeping thread until then


class TokenizerConnection(BaseHTTPRequestHandler):
    """Serves one connection."""

    server: TokenizerServer
    protocol_version = "HTTP/1.1"
    server_version = "axproxy-tokenizer"
    sys_version = ""
    timeout = IDLE_TIMEOUT
    # Head and body are sent in one piece, without waiting for acknowledgements: a run waits for
    # every /decode.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    # Requests that are not HTTP get JSON too, without any of their own bytes.
    error_content_type = "application/json"
    error_message_format = '{"error": "HTTP status %(code)d"}'
    _peer_is_runtime: bool | None = None

    def do_GET(self) -> None:
        """Answer a GET of the runtime or of the service."""
        if not self._refused():
            self._send(*self._handle(None))

    def do_POST(self) -> None:
        """Answer a POST of the runtime or of the service."""
        body = self._body()
        if self._refused():
            return
        status, answer = 200, self.server.handlers.fallback(self.path)
        try:
            status, answer = self._handle(body)
        finally:
            # Also after a failure: the runtime crashes without a reply.
            self._send(status, answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Log requests at debug; bodies are never logged."""
        log.debug(format, *args)

    def _refused(self) -> bool:
        access = self.server.access
        reason = access.refusal(self.path, self.headers, self._comes_from_runtime)
        if reason is None:
            return False
        access.log_refusal(self.path, reason)
        self.close_connection = True
        self._send(403, {"error": reason})
        return True

    def _comes_from_runtime(self) -> bool:
        # A connection belongs to the same process to its end.
        if self._peer_is_runtime is None:
            self._peer_is_runtime = self.server.access.check_peer(self.connection)
        return self._peer_is_runtime

    def _handle(self, body: bytes | None) -> tuple[int, JsonObject]:
        try:
            if self.command == "GET":
                return 200, self.server.handlers.get(self.path)
            return 200, self.server.handlers.post(self.path, body)
        except (BadCall, Untokenizable) as error:
            return 400, {"error": str(error)}

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            self.close_connection = True  # the beginning of the next request is unknown
            return None
        if int(length) <= LONGEST_BODY:
            return self.rfile.read(int(length))
        # Read it, so that the client gets our reply and not a reset of the connection.
        rest = int(length)
        while rest and (piece := self.rfile.read(min(rest, LONGEST_BODY))):
            rest -= len(piece)
        return None

    def _send(self, status: int, answer: JsonObject) -> None:
        # ASCII-escaped, like the vendor's: valid UTF-8 whatever is in it.
        body = json.dumps(answer, separators=(",", ":")).encode()
        self.log_request(status, len(body))
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class TokenizerServer(ThreadingHTTPServer):
    """Serves each connection on its own thread, so that a silent one does not delay the runtime."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        tokenizer: TextTokenizer,
        access: TokenizerAccess | None = None,
    ) -> None:
        """Raises `OSError` if the server cannot listen there."""
        self.access = access or TokenizerAccess()
        self.handlers = TokenizerHandlers(tokenizer)
        super().__init__(address, TokenizerConnection)

    def server_bind(self) -> None:
        """Bind without looking up the host's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)

    def server_close(self) -> None:
        """Close the listening socket and what the checks keep open."""
        super().server_close()
        self.access.close()

    @property
    def address(self) -> str:
        """HOST:PORT, with the port that was picked for 0."""
        host, port = self.socket.getsockname()[:2]
        return f"{host}:{port}"

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - base class
        """Log a client that hung up at debug, everything else as an error of ours."""
        if isinstance(sys.exception(), OSError):
            log.debug("%s hung up", client_address)
        else:
            log.exception("a call of %s failed", client_address)
