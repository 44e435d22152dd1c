"""Ports for programs that are told their port and take it only later.

A port that the kernel has just named free may be given to the next who asks before the program
has taken it.  These lie below those that the kernel gives away, and are held by name until this
process ends, so that tests side by side never share one.
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
_HELD = 200  # names of those given last; the earlier ones are in use, or have been


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
    """A port that nobody else is given."""
    return next(_ports)
