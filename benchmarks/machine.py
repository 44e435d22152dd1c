"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

BUSY = 0.2  # of all cores; figures that were taken beside so much other work are not to be trusted


@dataclass(frozen=True)
class Machine:
    """`busy` is the share of all cores that other programs used just before or just after."""

    name: str
    cores: int
    memory_gib: float
    system: str
    python: str
    taken: str
    busy: float

    @property
    def quiet(self) -> bool:
        return self.busy <= BUSY

    def __str__(self) -> str:
        noise = "" if self.quiet else f"; NOT QUIET, {self.busy:.0%} busy with other work"
        return (
            f"{self.name}, {self.cores} cores, {self.memory_gib:.0f} GiB, {self.system}, "
            f"Python {self.python}, {self.taken[:10]}{noise}"
        )


def this_machine(look: float) -> Machine:
    """Watches for `look` seconds what else is going on."""
    return Machine(
        name=_board() or _processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        memory_gib=psutil.virtual_memory().total / 2**30,
        system=f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        python=platform.python_version(),
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        busy=psutil.cpu_percent(look) / 100,
    )


def looked_at_again(machine: Machine, look: float) -> Machine:
    """The same machine, as busy as it was then or is now, whichever is more."""
    return replace(machine, busy=max(machine.busy, psutil.cpu_percent(look) / 100))


def _board() -> str:
    """A single-board computer says what it is: "Raspberry Pi 5 Model B Rev 1.0"."""
    try:
        return Path("/proc/device-tree/model").read_text().strip("\0\n ")
    except OSError:
        return ""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return ""
