"""What the checks look at: the settings, and the machine's own files under a root."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from axproxy.card.smi import AxclSmi
from axproxy.process import ports
from axproxy.settings import Settings


def read(path: Path) -> str:
    """What the file holds; empty where there is none, or none that we may read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def entries(folder: Path) -> list[Path]:
    """What lies in the folder, in order; nothing where there is no such folder."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


@dataclass(frozen=True)
class CheckContext:
    """`root` is where /proc, /sys, /dev and the rest are found; `machine` is what `uname -m` says.

    `owner` is the process whose descendants hold our ports by right, `None` when there is none.
    `loading` says that a model is being loaded, when nobody may ask the card anything; `smi` is
    who asks it, by default a new one.
    """

    settings: Settings
    root: Path = Path("/")
    machine: str = field(default_factory=platform.machine)
    owner: int | None = field(default_factory=os.getpid)
    loading: bool = False
    smi: AxclSmi | None = None
    can_access: Callable[[Path, int], bool] = os.access
    other_holders: Callable[[int, int | None], list[ports.PortHolder]] = ports.strangers

    def at(self, path: str) -> Path:
        """The file that the machine knows by the absolute `path`."""
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str:
        return read(self.at(path))

    def size_in_kib(self, label: str) -> int | None:
        """One row of /proc/meminfo, such as `CmaTotal`."""
        for line in self.text("/proc/meminfo").splitlines():
            name, _, value = line.partition(":")
            if name == label and value.split():
                return int(value.split()[0])
        return None

    @property
    def board(self) -> str:
        """What the device tree calls the machine; empty on a PC."""
        return self.text("/proc/device-tree/model").strip("\0\n ")

    @property
    def is_pi_5(self) -> bool:
        # The Compute Module 5 and the 500 have the same chip, firmware and device tree.
        return self.board.startswith(
            ("Raspberry Pi 5", "Raspberry Pi Compute Module 5", "Raspberry Pi 500")
        )
