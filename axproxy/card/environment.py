"""The environment variables that child processes and the card's programs are started with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The driver package installs here, and only login shells have these folders in their paths.
PROGRAMS = "/usr/bin/axcl"
LIBRARIES = "/usr/lib/axcl"


def child_environment() -> dict[str, str]:
    """Return the environment of a child process.

    It finds the card's libraries, does not reach systemd's socket, uses no proxy for loopback, and
    does not buffer Python's output.
    """
    environ = with_axcl(os.environ)
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        environ.pop(name, None)
    environ["NO_PROXY"] = environ["no_proxy"] = "127.0.0.1,localhost"
    environ["PYTHONUNBUFFERED"] = "1"
    environ["PYTHONPATH"] = str(ROOT)
    return environ


def with_axcl(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` with the paths that /etc/profile.d adds, and without renumbered cards.

    Newer drivers hide cards named in AXCL_VISIBLE_DEVICES from programs but not from `axcl-smi`.
    With that variable set, the index that `axcl-smi` shows would mean another card.
    """
    complete = {name: value for name, value in environ.items() if name != "AXCL_VISIBLE_DEVICES"}
    complete["PATH"] = f"{environ.get('PATH', os.defpath)}:{PROGRAMS}"
    libraries = environ.get("LD_LIBRARY_PATH", "")
    complete["LD_LIBRARY_PATH"] = f"{libraries}:{LIBRARIES}".lstrip(":")
    return complete
