"""Allows only one supervisor per machine and runtime port."""

from __future__ import annotations

import socket
import time
from pathlib import Path

_NAME = "ax650-supervisor-{}"


class AlreadySupervised(Exception):
    """Raised when another supervisor holds the runtime's port."""


def is_held(port: int, root: Path = Path("/")) -> bool:
    """Return True if a supervisor looks after `port`, without disturbing it.

    `root` is the folder that contains /proc.
    """
    try:
        names = (root / "proc" / "net" / "unix").read_text().splitlines()
    except OSError:
        return False
    return any(line.endswith(f" @{_NAME.format(port)}") for line in names)


class InstanceLock:
    """A name in the kernel's abstract socket namespace (unix(7)).

    All users share it, it leaves no file behind, and it is free again the moment its holder ends,
    even by SIGKILL.
    """

    def __init__(self, port: int) -> None:
        self._name = "\0" + _NAME.format(port)
        self._port = port
        self._socket: socket.socket | None = None

    def acquire(self, patience: float = 5.0) -> None:
        """Take the name.  Waits up to `patience` seconds: a predecessor may be about to leave.

        Raises `AlreadySupervised`.
        """
        deadline = time.monotonic() + patience
        while True:
            holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                holder.bind(self._name)
                self._socket = holder
                return
            except OSError as error:
                holder.close()
                if time.monotonic() > deadline:
                    raise AlreadySupervised(
                        f"another supervisor looks after port {self._port} on this machine; "
                        "stop it first, or use it with AX650_RUNTIME=attach"
                    ) from error
            time.sleep(0.1)

    def release(self) -> None:
        """Give the name back; does nothing the second time."""
        holder, self._socket = self._socket, None
        if holder:
            holder.close()
