"""The host around the card: its memory, its heat, its clock, and the library's log folder."""

from __future__ import annotations

import os
import re

from axproxy.preflight.context import CheckContext, entries, read
from axproxy.preflight.finding import Finding

LITTLE_MEMORY = 512  # MiB; the embedding table is mapped, and read from the disk again if need be
HOT = 80.0  # degrees C; a Pi 5 slows itself down from here on
_LOGS = "/tmp/axcl"  # noqa: S108 - the vendor's library writes there, and nowhere else
_GOVERNORS = "/sys/devices/system/cpu/cpufreq"


def check_memory(context: CheckContext) -> Finding:
    available = context.size_in_kib("MemAvailable")
    if available is None:
        return Finding("memory", "skip", "this kernel does not tell how much memory is available")
    seen = f"{available // 1024} MiB of memory are available"
    if available >= LITTLE_MEMORY * 1024:
        return Finding("memory", "ok", seen)
    return Finding("memory", "warn", f"only {seen}", "ps -eo pid,rss,comm --sort=-rss | head")


def check_temperature(context: CheckContext) -> Finding:
    zones = [read(zone / "temp").strip() for zone in entries(context.at("/sys/class/thermal"))]
    degrees = [int(millidegrees) / 1000 for millidegrees in zones if millidegrees.isdigit()]
    if not degrees:
        return Finding("temperature", "skip", "this machine does not tell its temperature")
    seen = f"the host has {max(degrees):.0f} °C"
    if max(degrees) < HOT:
        return Finding("temperature", "ok", seen)
    return Finding(
        "temperature", "warn", f"{seen} and slows itself down", "give it a fan or more air"
    )


def check_governor(context: CheckContext) -> Finding:
    found = {
        word
        for policy in entries(context.at(_GOVERNORS))
        # The drivers of newer PCs call "powersave" what follows the load.
        if not read(policy / "scaling_driver").startswith(("intel_pstate", "amd-pstate"))
        and (word := read(policy / "scaling_governor").strip())
    }
    if not found:
        return Finding("governor", "skip", "this machine does not tell how its clock is governed")
    seen = f"the CPU's clock is governed by {' and '.join(sorted(found))}"
    # Measured on RK3588 boards: half as fast again with a clock that stays up.  A Pi 5 is fine
    # with anything but the slowest.
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
    """The card's library gives up when it cannot open its log."""
    folder = context.at(_LOGS)
    existing = folder if folder.exists() else folder.parent
    closed = [existing] if not context.can_access(existing, os.W_OK | os.X_OK) else []
    logs = [path for path in entries(folder) if path.is_file()]
    closed += [path for path in logs if not context.can_access(path, os.W_OK)]
    if not closed:
        return Finding("log-folder", "ok", f"{_LOGS} can be written")
    name = f"/{closed[0].relative_to(context.root)}"
    remedy = f"sudo chmod -R a+rwX {_LOGS}" if existing == folder else f"sudo chmod 1777 {name}"
    return Finding("log-folder", "fail", f"this user may not write {name}", remedy)


def _is_rockchip(context: CheckContext) -> bool:
    return bool(re.search(r"rockchip,", context.text("/proc/device-tree/compatible")))
