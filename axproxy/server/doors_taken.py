"""Whether the service's own addresses can be listened on, and whose fault it is if not."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Mapping

from axproxy.process.ports import holders


def why_not_listen(host: str, doors: Mapping[int, str], patience: float = 0.0) -> str | None:
    """A sentence about the first port that cannot be had at `host`, or `None`.

    `doors` has the setting that moves each port.  A predecessor may just be leaving, so a port
    that is taken is tried again for `patience` seconds.
    """
    deadline = time.monotonic() + patience
    for port, setting in doors.items():
        while (error := _trouble(host, port)) is not None:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                return _sentence(host, port, setting, error)
            time.sleep(0.1)
    return None


def _trouble(host: str, port: int) -> OSError | None:
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            # As gunicorn does it: connections of the past are no hindrance.
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
        return f"port {port} is for root only; choose one above 1023 with {setting}"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return (
            f"{host} is no address of this machine; set AX650_HOST to 127.0.0.1, or to 0.0.0.0 "
            "for all it has"
        )
    return f"{host}, port {port}, cannot be listened on: {error.strerror}; see {setting}"
