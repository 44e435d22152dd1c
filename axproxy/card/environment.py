"""What a child finds around it: the variables it is started with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Where the driver package puts its programs and libraries, which only login shells are told.
PROGRAMS = "/usr/bin/axcl"
LIBRARIES = "/usr/lib/axcl"


def child_environment() -> dict[str, str]:
    """For the children: found libraries, no systemd socket, no proxies for loopback, no buffers."""
    environ = with_axcl(os.environ)
    for systemds in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        environ.pop(systemds, None)
    environ["NO_PROXY"] = environ["no_proxy"] = "127.0.0.1,localhost"
    environ["PYTHONUNBUFFERED"] = "1"
    environ["PYTHONPATH"] = str(ROOT)
    return environ


def with_axcl(environ: Mapping[str, str]) -> dict[str, str]:
    """For any program of the card's: what /etc/profile.d adds, and no renumbering of the cards.

    Newer drivers hide cards named in AXCL_VISIBLE_DEVICES from programs but not from `axcl-smi`,
    so that the index that it shows would be another card's.
    """
    complete = {name: value for name, value in environ.items() if name != "AXCL_VISIBLE_DEVICES"}
    complete["PATH"] = f"{environ.get('PATH', os.defpath)}:{PROGRAMS}"
    libraries = environ.get("LD_LIBRARY_PATH", "")
    complete["LD_LIBRARY_PATH"] = f"{libraries}:{LIBRARIES}".lstrip(":")
    return complete
