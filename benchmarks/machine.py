"""Describes the machine on which the figures were taken."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

BUSY = 0.2  # share of all cores; with more other work than this the figures are unreliable


@dataclass(frozen=True)
class Machine:
    """A machine; `busy` is the share of all cores that other programs used before or meanwhile."""

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
    """Describe this machine; measure other programs' load for `look` seconds."""
    return Machine(
        name=_board() or _processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        memory_gib=psutil.virtual_memory().total / 2**30,
        system=f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        python=platform.python_version(),
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        busy=psutil.cpu_percent(look) / 100,
    )


class Neighbours:
    """Measures the load of other programs on this machine, from now on."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._used = _seconds_of_others()

    def busy(self) -> float:
        """Return the share of all cores that they used.

        All processes that we started must have ended: only then is their time known.
        """
        used = _seconds_of_others() - self._used
        return max(used, 0.0) / (time.monotonic() - self._begun) / (os.cpu_count() or 1)


def _seconds_of_others() -> float:
    """Return the processor time of other programs since the machine started.

    Time taken by a hypervisor counts as theirs.  Interrupts do not count: most of them serve our
    own connections.
    """
    all_of_it, ours = psutil.cpu_times(), os.times()
    used = all_of_it.user + all_of_it.nice + all_of_it.system + all_of_it.steal
    return float(used) - sum(ours[:4])


def _board() -> str:
    """Return a single-board computer's model, such as "Raspberry Pi 5 Model B Rev 1.0"."""
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
