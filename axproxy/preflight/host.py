"""Checks the host: its memory, temperature and CPU clock, and the log folder of the library."""

from __future__ import annotations

import os
import re

from axproxy.preflight.context import CheckContext, entries, read
from axproxy.preflight.finding import Finding

MIN_MEMORY_MIB = 512  # enough: the embedding table is mapped, and can be read from disk again
HOT_CELSIUS = 80.0  # from here on a Pi 5 slows down
_LOGS = "/tmp/axcl"  # noqa: S108 - the vendor's library writes there, and nowhere else
_GOVERNORS = "/sys/devices/system/cpu/cpufreq"


def check_memory(context: CheckContext) -> Finding:
    available = context.size_in_kib("MemAvailable")
    if available is None:
        return Finding("memory", "skip", "this kernel does not report how much memory is available")
    seen = f"{available // 1024} MiB of memory are available"
    if available >= MIN_MEMORY_MIB * 1024:
        return Finding("memory", "ok", seen)
    return Finding("memory", "warn", f"only {seen}", "ps -eo pid,rss,comm --sort=-rss | head")


def check_temperature(context: CheckContext) -> Finding:
    zones = [read(zone / "temp").strip() for zone in entries(context.at("/sys/class/thermal"))]
    degrees = [int(millidegrees) / 1000 for millidegrees in zones if millidegrees.isdigit()]
    if not degrees:
        return Finding("temperature", "skip", "this machine does not report its temperature")
    seen = f"the host is at {max(degrees):.0f} °C"
    if max(degrees) < HOT_CELSIUS:
        return Finding("temperature", "ok", seen)
    return Finding("temperature", "warn", f"{seen} and slows down", "give it a fan or more air")


def check_governor(context: CheckContext) -> Finding:
    found = {
        word
        for policy in entries(context.at(_GOVERNORS))
        # With the drivers of newer PCs "powersave" follows the load.
        if not read(policy / "scaling_driver").startswith(("intel_pstate", "amd-pstate"))
        and (word := read(policy / "scaling_governor").strip())
    }
    if not found:
        return Finding("governor", "skip", "this machine does not report its CPU governor")
    seen = f"the CPU governor is {' and '.join(sorted(found))}"
    # Measured on RK3588 boards: 1.5 times as fast with a clock that stays up.  A Pi 5 is fast
    # enough with any governor but the slowest.
    slow = found - {"performance"} if _is_rockchip(context) else found & {"powersave"}
    if not slow:
        return Finding("governor", "ok", seen)
    return Finding(
        "governor",
        "warn",
        f"{seen}, which slows the model down",
        f"echo performance | sudo tee {_GOVERNORS}/policy*/scaling_governor",
    )


def check_log_folder(context: CheckContext) -> Finding:
    """Check that this user can write the log of the card's library, which fails without it."""
    folder = context.at(_LOGS)
    existing = folder if folder.exists() else folder.parent
    closed = [existing] if not context.can_access(existing, os.W_OK | os.X_OK) else []
    logs = [path for path in entries(folder) if path.is_file()]
    closed += [path for path in logs if not context.can_access(path, os.W_OK)]
    if not closed:
        return Finding("log-folder", "ok", f"{_LOGS} is writable")
    name = f"/{closed[0].relative_to(context.root)}"
    remedy = f"sudo chmod -R a+rwX {_LOGS}" if existing == folder else f"sudo chmod 1777 {name}"
    return Finding("log-folder", "fail", f"this user cannot write {name}", remedy)


def _is_rockchip(context: CheckContext) -> bool:
    return bool(re.search(r"rockchip,", context.text("/proc/device-tree/compatible")))
