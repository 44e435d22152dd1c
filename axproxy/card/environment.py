"""What a child finds around it: the variables it is started with."""

from __future__ import annotations

import os
from pathlib import Path

from axproxy.card.libraries import with_axcl

ROOT = Path(__file__).resolve().parents[2]


def child_environment() -> dict[str, str]:
    """For the children: found libraries, no systemd socket, no proxies for loopback, no buffers."""
    environ = with_axcl(os.environ)
    for systemds in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        environ.pop(systemds, None)
    environ["NO_PROXY"] = environ["no_proxy"] = "127.0.0.1,localhost"
    environ["PYTHONUNBUFFERED"] = "1"
    environ["PYTHONPATH"] = str(ROOT)
    return environ
