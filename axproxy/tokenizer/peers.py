"""Finds out which process is at the other end of a connection over loopback.

The runtime cannot send a secret, so its calls are recognised by their process.  A call costs some
30 microseconds: one question to the kernel and one symbolic link, because a program that opens a
connection for each call gets the same descriptor again and again.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

log = logging.getLogger(__name__)

Address = tuple[str, int]

_SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, _NLMSG_ERROR = 20, 1, 2
_NETLINK_SOCK_DIAG = 4
_ANY_STATE, _ANY_COOKIE = 0xFFFFFFFF, b"\xff" * 8
_NOT_FOUND = 2  # ENOENT


@dataclass(frozen=True)
class Peer:
    """The socket at the other end: its inode, 0 if no process has it open, and its user."""

    inode: int
    uid: int


class Unsupported(Exception):
    """The system does not show who is at the other end."""


class PeerCheck(Protocol):
    """Decides whether a connection comes from the runtime; called on the connection's thread."""

    def __call__(self, connection: socket.socket) -> bool: ...

    def close(self) -> None: ...


class SameUser:
    """Accepts programs of this process's user, and of root.

    For a tokenizer that was started by hand, which does not know the runtime's process.
    """

    def __init__(self) -> None:
        self._sockets = PeerSockets()

    def __call__(self, connection: socket.socket) -> bool:
        try:
            peer = self._sockets.find(connection)
        except Unsupported:
            return True
        return peer is not None and peer.uid in (0, os.geteuid())

    def close(self) -> None:
        self._sockets.close()


class Siblings:
    """Accepts the processes below `parent`: the service's own children."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._sockets = PeerSockets()
        self._known = threading.Lock()  # guards both; held for one readlink
        self._folder = -1  # /proc/PID/fd of the process that called last: never another process's
        self._descriptor = ""

    def __call__(self, connection: socket.socket) -> bool:
        try:
            peer = self._sockets.find(connection)
        except Unsupported:
            return True
        if peer is None or not peer.inode:
            return False
        return self._held_as_before(peer) or self._held_by_a_child(peer)

    def close(self) -> None:
        self._sockets.close()
        with self._known:
            folder, self._folder = self._folder, -1
        if folder >= 0:
            os.close(folder)

    def _held_as_before(self, peer: Peer) -> bool:
        with self._known:
            return self._folder >= 0 and _is_socket(self._descriptor, self._folder, peer.inode)

    def _held_by_a_child(self, peer: Peer) -> bool:
        hidden = False
        for pid in self._children():
            try:
                folder = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except PermissionError:  # a program with privileges; its user is all that is shown
                hidden = hidden or _uid_of(pid) == peer.uid
                continue
            except OSError:
                continue  # it has ended
            if name := _holding(folder, peer.inode):
                self._remember(folder, name)
                return True
            os.close(folder)
        return hidden

    def _children(self) -> Iterator[int]:
        try:
            found = psutil.Process(self._parent).children(recursive=True)
        except psutil.Error:
            return
        yield from (process.pid for process in found if process.pid != os.getpid())

    def _remember(self, folder: int, name: str) -> None:
        with self._known:
            before, self._folder, self._descriptor = self._folder, folder, name
        if before >= 0:
            os.close(before)


class PeerSockets:
    """Finds the socket at the other end of a connection; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._netlink: socket.socket | None = None
        self._without_netlink = False
        self._closed = False

    def find(self, connection: socket.socket) -> Peer | None:
        """Return the peer's socket, `None` if there is none on this machine any more.

        Raises `Unsupported`.
        """
        try:
            peer, ours = connection.getpeername(), connection.getsockname()
        except OSError:
            return None
        if not self._without_netlink:
            try:
                with self._lock:
                    if self._closed:
                        return None
                    return self._ask_kernel(peer, ours)
            except OSError as error:
                log.info("the kernel's socket diagnostics are not there (%s)", error)
                self._without_netlink = True
        return _read_table(peer, ours)

    def close(self) -> None:
        with self._lock:
            if self._netlink:
                self._netlink.close()
            self._netlink = None
            self._closed = True  # a late connection must not open it again

    def _ask_kernel(self, source: Address, destination: Address) -> Peer | None:
        """Look up one socket by its two addresses (sock_diag(7)).  Raises `OSError`."""
        if self._netlink is None:
            self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
            self._netlink.settimeout(1.0)
        ports = struct.pack("!HH", source[1], destination[1])
        hosts = (socket.inet_aton(host).ljust(16, b"\0") for host in (source[0], destination[0]))
        identity = ports + b"".join(hosts) + bytes(4) + _ANY_COOKIE
        family = struct.pack("=BBxxI", socket.AF_INET, socket.IPPROTO_TCP, _ANY_STATE)
        question = family + identity
        header = struct.pack(
            "=IHHII", 16 + len(question), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0
        )
        self._netlink.send(header + question)
        answer = self._netlink.recv(8192)
        kind = struct.unpack_from("=H", answer, 4)[0]
        if kind == _NLMSG_ERROR:
            number = -struct.unpack_from("=i", answer, 16)[0]
            if number == _NOT_FOUND:
                return None
            raise OSError(number, os.strerror(number))
        if answer[20:24] != ports:
            return None  # a listening socket: the connection is gone
        uid, inode = struct.unpack_from("=II", answer, 80)
        return Peer(inode, uid)


def _read_table(source: Address, destination: Address) -> Peer | None:
    """Look the socket up in the kernel's table, which is slower.  Raises `Unsupported`."""
    try:
        table = Path("/proc/net/tcp").read_bytes()
    except OSError as error:
        raise Unsupported from error
    ends = b" ".join(_in_table(address) for address in (source, destination))
    line = re.search(rb": " + ends + rb"(.*)", table)
    if line is None:
        return None
    _, _, _, _, uid, _, inode, *_ = line[1].split()
    return Peer(int(inode), int(uid))


def _in_table(address: Address) -> bytes:
    (number,) = struct.unpack("=I", socket.inet_aton(address[0]))
    return b"%08X:%04X" % (number, address[1])


def _holding(folder: int, inode: int) -> str | None:
    """Return the descriptor of a socket, if the process with this /proc/PID/fd has it."""
    try:
        names = os.listdir(folder)
    except OSError:
        return None  # the process has ended
    return next((name for name in names if _is_socket(name, folder, inode)), None)


def _is_socket(name: str, folder: int, inode: int) -> bool:
    try:
        return os.readlink(name, dir_fd=folder) == f"socket:[{inode}]"
    except OSError:
        return False


def _uid_of(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None
