"""The environment variables that child processes and the card's programs are started with."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The driver package installs here, and only login shells have these folders in their paths.
PROGRAMS = "/usr/bin/axcl"
LIBRARIES = "/usr/lib/axcl"

# What is for the service alone: its settings, what systemd and gunicorn hand to it, and secrets by
# the usual names.  Programs are told on their command lines what they need, which is never secret.
_OURS = re.compile(
    r"(AX650|OLLAMA|GUNICORN|WATCHDOG|LISTEN|AWS)_.*|NOTIFY_SOCKET|(.*_)?CREDENTIALS_DIRECTORY"
    r"|(.*_)?(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASS|AUTH|CREDENTIALS?)(_.*)?",
    re.IGNORECASE,
)
_PASSWORD_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]*@")  # a proxy's, for example


def child_environment() -> dict[str, str]:
    """Return the environment of a child process.

    It finds the card's libraries, has neither settings nor secrets, does not reach systemd's
    socket, uses no proxy for loopback, and does not buffer Python's output.
    """
    environ = with_axcl(os.environ)
    environ["NO_PROXY"] = environ["no_proxy"] = "127.0.0.1,localhost"
    environ["PYTHONUNBUFFERED"] = "1"
    environ["PYTHONPATH"] = str(ROOT)
    return environ


def with_axcl(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` with the paths that /etc/profile.d adds, without what is the service's own.

    Newer drivers hide cards named in AXCL_VISIBLE_DEVICES from programs but not from `axcl-smi`.
    With that variable set, the index that `axcl-smi` shows would mean another card.
    """
    complete = {
        name: value
        for name, value in environ.items()
        if name != "AXCL_VISIBLE_DEVICES"
        and not _OURS.fullmatch(name)
        and not _PASSWORD_IN_URL.search(value)
    }
    complete["PATH"] = f"{environ.get('PATH', os.defpath)}:{PROGRAMS}"
    libraries = environ.get("LD_LIBRARY_PATH", "")
    complete["LD_LIBRARY_PATH"] = f"{libraries}:{LIBRARIES}".lstrip(":")
    return complete
