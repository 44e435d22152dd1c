"""The health of the host: what the kernel reports without any cost."""

from __future__ import annotations

from pathlib import Path

import psutil

from axproxy.health import HostHealth

_THERMAL = Path("/sys/class/thermal/thermal_zone0/temp")
_MEMINFO = Path("/proc/meminfo")


def host_health() -> HostHealth:
    """Return the host's part of `/health`; `None` stands for what this machine does not report."""
    memory = {
        key: int(rest.split()[0]) // 1024  # kB to MB
        for key, _, rest in (line.partition(":") for line in _lines(_MEMINFO))
        if rest.split()
    }
    millidegrees = next(iter(_lines(_THERMAL)), "")
    return HostHealth(
        temperature_c=int(millidegrees) / 1000 if millidegrees.isdigit() else None,
        memory_used_mb=psutil.virtual_memory().used // 2**20,
        cma_total_mb=memory.get("CmaTotal"),
        cma_free_mb=memory.get("CmaFree"),
    )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
