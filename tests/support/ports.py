"""Ports for programs that get their port as an option and bind it only later.

The kernel may give a port that it has just reported as free to another program first.  The ports
here are below the kernel's own range and are reserved by name until this process ends, so tests
that run side by side never share one.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
from collections import deque
from collections.abc import Iterator

_RANGE = range(15_000, 30_000)
_HELD = 200  # names of the last ports; earlier ports are in use by now, or have been


def _own_ports() -> Iterator[int]:
    first = os.getpid() * 101 % len(_RANGE)
    names: deque[socket.socket] = deque(maxlen=_HELD)
    for number in itertools.count(first):
        port = _RANGE[number % len(_RANGE)]
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0axproxy-tests-port-{port}")
        except OSError as error:
            name.close()
            if error.errno == errno.EADDRINUSE:
                continue
            raise
        if _taken(port):
            name.close()
            continue
        if len(names) == _HELD:
            names.popleft().close()
        names.append(name)
        yield port


def _taken(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return False
    return True


_ports = _own_ports()


def own_port() -> int:
    """Return a port that no other test gets."""
    return next(_ports)
