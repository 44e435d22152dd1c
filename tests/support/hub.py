"""A small hub of models on loopback, with the faults that a real one and its network have."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
LARGE = 1000  # bytes; larger files are in Git LFS


class FakeHub:
    """`files` are those of every repository, by path.  The other attributes are its faults.

    `status` answers a path that contains the key with that status, as often as it says; `cut` ends
    an answer after so many bytes, as often as it says; `corrupt` changes the bytes of the files
    named in it, as often as it says.  `redirect_to` sends the large files to another hub.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.commit = COMMIT
        self.status: dict[str, list[int]] = {}
        self.retry_after: str | None = None
        self.cut: list[int] = []
        self.stall: list[int] = []  # sends nothing more after so many bytes, as often as it says
        self.corrupt: Counter[str] = Counter()
        self.pointers = False  # instead of the content of large files
        self.ignore_ranges = False
        self.page = 1000  # files in one list
        self.pause = 0.0  # seconds after each kilobyte
        self.redirect_to: FakeHub | None = None
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator[FakeHub]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def ranges(self) -> list[str]:
        """Return the ranges that were asked for."""
        return [headers["Range"] for _, headers in self.requests if "Range" in headers]

    def asked_for(self, path: str) -> int:
        return sum(path in requested for requested, _ in self.requests)

    def _handler(hub) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - it counts the whole class
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

            def do_GET(self) -> None:
                hub.requests.append((self.path, dict(self.headers)))
                path = unquote(urlsplit(self.path).path)
                for part, statuses in hub.status.items():
                    if part in path and statuses:
                        self._send(statuses.pop(0), b"{}", **hub._wish())
                        return
                if path.startswith("/api/") and "/revision/" in path:
                    self._send(200, json.dumps({"sha": hub.commit}).encode())
                elif path.startswith("/api/") and "/tree/" in path:
                    self._list(int((re.findall(r"from=(\d+)", self.path) or ["0"])[0]))
                elif found := re.fullmatch(r"/[^/]+/[^/]+/resolve/[^/]+/(.+)", path):
                    self._file(found[1])
                else:
                    self._send(404, b"{}")

            def _list(self, first: int) -> None:
                rows = [hub.row(path) for path in sorted(hub.files)]
                page, headers = rows[first : first + hub.page], {}
                if first + hub.page < len(rows):
                    after = f"{hub.url}{urlsplit(self.path).path}?from={first + hub.page}"
                    headers["Link"] = f'<{after}>; rel="next"'
                self._send(200, json.dumps(page).encode(), **headers)

            def _file(self, path: str) -> None:
                content = hub.files.get(path)
                if content is None:
                    self._send(404, b"")
                    return
                if hub.redirect_to and len(content) > LARGE:
                    self._send(302, b"", Location=hub.redirect_to.url + self.path)
                    return
                if hub.pointers and len(content) > LARGE:
                    content = b"version https://git-lfs.github.com/spec/v1\n"
                if hub.corrupt[path]:
                    hub.corrupt[path] -= 1
                    content = bytes(byte ^ 1 for byte in content)
                begin, status, headers = 0, 200, {}
                wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                fresh = self.headers.get("If-Range") == hub.etag(hub.files[path])
                if wanted and fresh and not hub.ignore_ranges:
                    begin, status = int(wanted[1]), 206
                    headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
                    if begin >= len(content):
                        self._send(416, b"")
                        return
                self._send(status, content[begin:], **headers)

            def _send(self, status: int, body: bytes, **headers: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                limit = len(body)
                if hub.cut and "/resolve/" in self.path and len(body) > LARGE:
                    limit = hub.cut.pop(0)
                    self.close_connection = True
                stops = hub.stall and "/resolve/" in self.path and len(body) > hub.stall[0]
                stop = hub.stall.pop(0) if stops else limit
                for at in range(0, limit, 1024):
                    if at >= stop:
                        self.connection.settimeout(10)
                        self.connection.recv(1)  # until the client leaves
                        return
                    self.wfile.write(body[at : min(at + 1024, limit)])
                    if hub.pause:
                        self.wfile.flush()
                        time.sleep(hub.pause)

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # the client has left
                    self.close_connection = True

        return Handler

    def _wish(self) -> dict[str, str]:
        return {"Retry_After": self.retry_after} if self.retry_after else {}

    def row(self, path: str) -> dict[str, object]:
        content = self.files[path]
        blob = blob_digest(content)
        row: dict[str, object] = {
            "type": "file",
            "path": path,
            "size": len(content),
            "oid": blob,
        }
        if len(content) > LARGE:
            digest = hashlib.sha256(content).hexdigest()
            row["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
        return row

    def etag(self, content: bytes) -> str:
        if len(content) > LARGE:
            return f'"{hashlib.sha256(content).hexdigest()}"'
        return f'"{blob_digest(content)}"'


def blob_digest(content: bytes) -> str:
    """Return the name that git gives to a file with this content."""
    whole = b"blob %d\0" % len(content) + content
    return hashlib.sha1(whole, usedforsecurity=False).hexdigest()
