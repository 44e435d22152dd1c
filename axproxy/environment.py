"""What a child finds around it: the variables it is started with."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def child_environment() -> dict[str, str]:
    """For the children: found libraries, no systemd socket, no proxies for loopback, no buffers."""
    environ = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    # /etc/profile.d sets these for login shells only; a service never sees it.
    environ["PATH"] = f"{environ.get('PATH', os.defpath)}:/usr/bin/axcl"
    libraries = environ.get("LD_LIBRARY_PATH", "")
    environ["LD_LIBRARY_PATH"] = f"{libraries}:/usr/lib/axcl".lstrip(":")
    environ["NO_PROXY"] = environ["no_proxy"] = "127.0.0.1,localhost"
    environ["PYTHONUNBUFFERED"] = "1"
    environ["PYTHONPATH"] = str(ROOT)
    return environ
