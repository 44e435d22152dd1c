"""The service's own ports: whether they can be listened on, and for how many connections."""

from __future__ import annotations

import errno
import resource
import socket
import time
from collections.abc import Mapping

from axproxy.process.ports import holders

LEAST_DESCRIPTORS = 128  # with 64, a handful of connections leaves none for /health
_OTHER_DESCRIPTORS = 200  # logs, pipes, our own calls to the children


class TooFewDescriptors(Exception):
    """Says in one sentence how many files this process may open, and how to allow more."""


def why_unavailable(host: str, ports: Mapping[int, str], timeout: float = 0.0) -> str | None:
    """Return a sentence about the first port that cannot be bound at `host`, or `None`.

    `ports` maps each port to the setting that moves it.  A predecessor may just be leaving, so a
    port that is taken is tried again for `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    for port, setting in ports.items():
        while (error := _bind_error(host, port)) is not None:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                return _sentence(host, port, setting, error)
            time.sleep(0.1)
    return None


def _bind_error(host: str, port: int) -> OSError | None:
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            # As gunicorn does it: connections in TIME_WAIT do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error
    return None


def _sentence(host: str, port: int, setting: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        found = holders(port)
        holder = found[0] if found else "a program that cannot be seen"
        return f"port {port} is held by {holder}; stop that, or choose another port with {setting}"
    if error.errno == errno.EACCES:
        return f"port {port} is reserved for root; choose a port above 1023 with {setting}"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        variable = "OLLAMA_HOST" if setting == "OLLAMA_HOST" else "AX650_HOST"
        return (
            f"{host} is no address of this machine; set {variable} to 127.0.0.1, or to 0.0.0.0 "
            "for all its addresses"
        )
    return f"cannot listen on {host}, port {port}: {error.strerror}; see {setting}"


def room_for_connections(wanted: int) -> int:
    """Return how many of `wanted` connections the system allows, at least 32.

    Raises our limit of open descriptors as far as needed and permitted: many systems start
    programs with a limit of 1024.  Raises `TooFewDescriptors` below a limit of `LEAST_DESCRIPTORS`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < LEAST_DESCRIPTORS:
        raise TooFewDescriptors(
            f"this process may open {hard} files, and needs {LEAST_DESCRIPTORS} at least; raise "
            "the limit: ulimit -n 1024, or LimitNOFILE=1024 in the systemd unit"
        )
    needed = wanted + _OTHER_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = wanted if soft == resource.RLIM_INFINITY else soft - _OTHER_DESCRIPTORS
    return max(min(wanted, room), 32)
