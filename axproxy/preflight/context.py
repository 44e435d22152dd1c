"""What the checks look at: the settings, and the files of the machine below a root folder."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from axproxy.card.environment import child_environment
from axproxy.card.smi import AxclSmi
from axproxy.models.model import RuntimeName
from axproxy.models.runtime_choice import runtime_for
from axproxy.process import ports
from axproxy.settings import Settings


def read(path: Path) -> str:
    """Return the text of the file; an empty one if it is missing or cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def entries(folder: Path) -> list[Path]:
    """Return the sorted entries of the folder; none if it is missing or cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


@dataclass(frozen=True)
class CheckContext:
    """The machine and the settings that one run of the checks looks at.

    `root` is the folder with /proc, /sys, /dev and the rest.  `machine` is the output of
    `uname -m`.  `owner` is the process whose descendants may hold our ports, or `None`.
    `loading` means that a model is being loaded and `axcl-smi` must not be called.  `smi` calls
    it, by default a new one.  `can_access` takes a path and a mode, as `os.access` does.
    `other_holders` takes a port and the `owner`; it returns the other programs on that port.
    """

    settings: Settings
    root: Path = Path("/")
    machine: str = field(default_factory=platform.machine)
    owner: int | None = field(default_factory=os.getpid)
    loading: bool = False
    smi: AxclSmi | None = None
    can_access: Callable[[Path, int], bool] = os.access
    other_holders: Callable[[int, int | None], list[ports.PortHolder]] = ports.strangers

    @cached_property
    def runtime(self) -> RuntimeName:
        """The vendor's program that the model's folder is for."""
        return runtime_for(self.settings)

    @property
    def program(self) -> Path:
        """The path of that program, or the name under which it was not found."""
        settings = self.settings
        if self.runtime == "main_api":
            return settings.runtime_bin
        found = shutil.which(settings.axllm_bin, path=child_environment()["PATH"])
        return Path(found) if found else settings.axllm_bin

    def at(self, path: str) -> Path:
        """Return the file below `root` for the machine's absolute `path`."""
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str:
        return read(self.at(path))

    def size_in_kib(self, label: str) -> int | None:
        """Return the value of one row of /proc/meminfo, such as `CmaTotal`."""
        for line in self.text("/proc/meminfo").splitlines():
            name, _, value = line.partition(":")
            if name == label and value.split():
                return int(value.split()[0])
        return None

    @property
    def board(self) -> str:
        """The machine's name in the device tree; empty on a PC."""
        return self.text("/proc/device-tree/model").strip("\0\n ")

    @property
    def is_pi_5(self) -> bool:
        # The Compute Module 5 and the 500 have the same chip, firmware and device tree.
        return self.board.startswith(
            ("Raspberry Pi 5", "Raspberry Pi Compute Module 5", "Raspberry Pi 500")
        )
