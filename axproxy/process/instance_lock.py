"""Exactly one supervisor per machine and runtime port."""

from __future__ import annotations

import socket
import time
from pathlib import Path

_NAME = "ax650-supervisor-{}"


class AlreadySupervised(Exception):
    """Another supervisor holds the runtime's port."""


def is_held(port: int, root: Path = Path("/")) -> bool:
    """Whether a supervisor looks after `port`; asking takes nothing from it.  `root` is where
    /proc lies."""
    try:
        names = (root / "proc" / "net" / "unix").read_text().splitlines()
    except OSError:
        return False
    return any(line.endswith(f" @{_NAME.format(port)}") for line in names)


class InstanceLock:
    """Holds a name in the kernel's abstract socket namespace (unix(7)): no file to leave behind,
    shared by all users, and free again the moment its holder dies, however it dies."""

    def __init__(self, port: int) -> None:
        self._name = "\0" + _NAME.format(port)
        self._port = port
        self._socket: socket.socket | None = None

    def acquire(self, patience: float = 5.0) -> None:
        """Waits up to `patience` seconds, for a predecessor may just be leaving.

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
        holder, self._socket = self._socket, None
        if holder:
            holder.close()
