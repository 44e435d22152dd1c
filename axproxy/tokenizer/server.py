"""The tokenizer as a process: it answers the runtime and the proxy over HTTP on the loopback."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socketserver
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

from axproxy.models.tokenizer_files import SMALL, TokenizerFolderError, find_folder
from axproxy.ops.malloc import give_back
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


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT, then exits with 0; 2 if it cannot start."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=arguments.log_level.upper(), format="%(levelname)s %(name)s: %(message)s"
    )
    # One text at a time needs no thread pool; without it the library keeps fewer threads around.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        folder = _folder(arguments)
        tokenizer = TextTokenizer.load(folder)
    except TokenizerFolderError as error:
        return _refuse(str(error))
    give_back()
    try:
        server = TokenizerServer((arguments.host, arguments.port), tokenizer)
    except (OSError, OverflowError) as error:
        return _refuse(
            f"cannot listen on {arguments.host}:{arguments.port} ({error}); "
            "stop what is using the port, or choose another one with --port"
        )
    log.info("tokenizer of %s", folder)
    print(f"tokenizer listening on {server.address}", flush=True)
    server.serve_forever()
    return 0


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's shape
    # At once: an orderly end would wait for threads that are inside the library or asleep in a
    # read of the trace, and there is nothing to save.
    os._exit(0)


def _refuse(sentence: str) -> int:
    print(f"tokenizer: {sentence}", file=sys.stderr)
    return 2


def _folder(arguments: argparse.Namespace) -> Path:
    if arguments.folder is not None:
        return Path(arguments.folder)
    return SMALL if arguments.model_path is None else find_folder(Path(arguments.model_path))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="axproxy.tokenizer.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=12345, help="0 picks a free one")
    parser.add_argument("--folder", help="a folder with a tokenizer.json (default: the built-in)")
    parser.add_argument(
        "--model-path",
        help="a model's folder, to search for its tokenizer if --folder is not given",
    )
    parser.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"]
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
