"""systemd's end of the notification socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self


class Listener:
    """`address` is what systemd would put into `NOTIFY_SOCKET`."""

    def __init__(self, path: Path, *, abstract: bool = False) -> None:
        self.address = f"@axproxy-test-{os.getpid()}-{id(self)}" if abstract else str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self.address[1:]}" if abstract else self.address)
        self._socket.setblocking(False)

    def heard(self) -> list[dict[str, str]]:
        """Return one dictionary for each datagram that has come since the last call."""
        notices = []
        while True:
            try:
                datagram = self._socket.recv(65536).decode()
            except BlockingIOError:
                return notices
            notices.append(dict(line.split("=", 1) for line in datagram.splitlines()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
