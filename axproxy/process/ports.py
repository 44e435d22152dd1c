"""Finds the programs that listen on a TCP port of this machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class PortHolder:
    """A program that listens on a port.

    `pid` is `None` for a program of another user, which only root may inspect.
    """

    pid: int | None

    def __str__(self) -> str:
        if self.pid is None:
            return "a program of another user"
        try:
            return f"{psutil.Process(self.pid).name()} (pid {self.pid})"
        except psutil.Error:
            return f"pid {self.pid}"


def holders(port: int) -> list[PortHolder]:
    """Return every listener; there can be several, as the vendor's server sets SO_REUSEPORT."""
    found = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr
        and connection.laddr.port == port
    }
    return [PortHolder(pid) for pid in sorted(found, key=lambda pid: pid or 0)]


def strangers(port: int, pid: int | None) -> list[PortHolder]:
    """Return the listeners on `port` that are neither `pid` nor one of its descendants.

    Without such a process these are all listeners.
    """
    if pid is None:
        return holders(port)
    try:
        family = {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    except psutil.Error:
        family = {pid}
    return [holder for holder in holders(port) if holder.pid not in family]


def free_port() -> int:
    """Return a port that no program uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def first_usable(numbers: Iterable[int]) -> int:
    """Return the first port that a program could listen on now, on all interfaces.

    A port whose last owner has ended its connections itself stays taken for a minute, for programs
    that do not ask for its reuse, as the vendor's.  Raises `OSError` where none is left.
    """
    for number in numbers:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", number))
            return number
    raise OSError("no port is left for another runtime")
