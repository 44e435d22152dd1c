"""Records the requests of a client and the service's answers in `tests/data/handshakes`.

python -m tests.system.clients.recorder TITLE python tests/system/clients/handshakes/lite-llm.py
python -m tests.system.clients.recorder --again                asks every transcript's requests anew
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from pathlib import Path

from tests.support.service import Service
from tests.support.waiting import eventually
from tests.system.clients.transcripts import (
    Answer,
    Exchange,
    Request,
    answer_of,
    parse,
    render,
    request_of,
    title_of,
)

FOLDER = Path(__file__).parents[2] / "data" / "handshakes"
LOAD = Request("POST", "/api/generate", (), '{"model":"mock","keep_alive":-1}')
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


def ask(port: int, request: Request) -> Answer:
    """Send a request of a transcript and return the service's answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(
            request.method, request.path, request.body.encode() or None, dict(request.headers)
        )
        response = connection.getresponse()
        return answer_of(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


class RecordingProxy(ThreadingHTTPServer):
    """Forwards everything to a port of this machine, and records it."""

    daemon_threads = True

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.exchanges: list[Exchange] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RecordingProxy

    def log_message(self, *_: object) -> None:
        """The transcript is the log."""

    def pass_on(self) -> None:
        asked = self._body()
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=60)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
            upstream.request(self.command, self.path, asked or None, headers)
            response = upstream.getresponse()
            body = self._answer(response)
        finally:
            upstream.close()
        headers = dict(response.getheaders())
        request = request_of(self.command, self.path, self.headers.items(), asked)
        answer = answer_of(response.status, headers, body)
        self.server.exchanges.append(Exchange(request, answer))

    do_GET = do_HEAD = do_POST = do_DELETE = do_OPTIONS = pass_on

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, response: http.client.HTTPResponse) -> bytes:
        chunked = response.getheader("Transfer-Encoding") == "chunked"
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            if name.lower() not in {"connection", "keep-alive"}:
                self.send_header(name, value)
        self.end_headers()
        body = b""
        while piece := response.read1():
            body += piece
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        return body


def record(title: str, command: list[str], port: int) -> None:
    """Run a command; its last word is a script, which gets a URL and names the transcript."""
    proxy = RecordingProxy(port)
    subprocess.run([*command, proxy.base], check=True, timeout=1200)
    proxy.shutdown()
    once = [exchange for exchange, _ in groupby(proxy.exchanges)]
    (FOLDER / f"{Path(command[-1]).stem}.txt").write_text(render(title, once))


def record_again(port: int) -> None:
    for path in sorted(FOLDER.glob("*.txt")):
        text = path.read_text()
        ask(port, LOAD)  # some clients unload the model at their end
        exchanges = [Exchange(known.request, ask(port, known.request)) for known in parse(text)]
        path.write_text(render(title_of(text), exchanges))


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        service = Service({}, Path(folder) / "log")
        try:
            eventually(service.ready)
            if arguments == ["--again"]:
                record_again(service.port)
            else:
                title, *command = arguments
                record(title, command, service.port)
        finally:
            service.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
