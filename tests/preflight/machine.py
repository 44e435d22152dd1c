"""A machine made of files: a root with the /proc, /sys and /dev that a check would read."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from axproxy.preflight.context import CheckContext
from axproxy.process.ports import PortHolder
from axproxy.settings import Settings

KERNEL = "6.12.62+rpt-rpi-2712"
CARD = "/sys/bus/pci/devices/0001:01:00.0"
NODES = ("/dev/axcl_host", "/dev/ax_mmb_dev", "/dev/msg_userdev")


class Machine:
    """A Raspberry Pi 5 in good order with a card in it; tests remove what they need to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.closed: set[str] = set()  # what this user cannot access
        self.held: dict[int, list[PortHolder]] = {}
        self.write("/proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
        self.write("/proc/sys/kernel/osrelease", f"{KERNEL}\n")
        self.write("/proc/cmdline", "console=tty1 root=PARTUUID=1 rootwait\n")
        self.write("/proc/uptime", "10000.00 39000.00\n")
        self.memory(CmaTotal=65536, CmaFree=0, MemAvailable=6_000_000)
        self.write("/proc/modules", "axcl_host 61440 0 - Live 0x0 (O)\nvc4 1 0 - Live 0x0\n")
        self.write(f"/lib/modules/{KERNEL}/extra/axcl_host.ko", "")
        self.write(f"/lib/modules/{KERNEL}/build", "")
        for node in NODES:
            self.write(node, "")
        self.write("/dev/kmsg", "6,1,500000,-;Booting Linux\n")
        self.write(f"{CARD}/vendor", "0x1f4b\n")
        self.write(f"{CARD}/device", "0x0650\n")
        self.write(f"{CARD}/current_link_speed", "5.0 GT/s PCIe\n")
        self.write(f"{CARD}/current_link_width", "1\n")
        self.write(f"{CARD}/config", "K\x1f")
        for number in range(4):
            self.write(f"{CARD}/msi_irqs/{number}", "msi\n")
        self.write("/sys/class/thermal/thermal_zone0/temp", "51000\n")
        self.write("/sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "ondemand\n")
        self.write("/boot/firmware/config.txt", "dtparam=pciex1\n")
        (root / "tmp").mkdir()

    def write(self, path: str, text: str) -> Path:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def remove(self, path: str) -> None:
        (self.root / path.lstrip("/")).unlink()

    def memory(self, **kib: int) -> None:
        lines = [f"{name}:{value:>14} kB" for name, value in kib.items()]
        self.write("/proc/meminfo", "\n".join(lines))

    def context(self, machine: str = "aarch64", **environ: str) -> CheckContext:
        return CheckContext(
            Settings.from_env(environ),
            self.root,
            machine,
            can_access=lambda path, _mode: f"/{path.relative_to(self.root)}" not in self.closed,
            other_holders=lambda port, _pid: self.held.get(port, []),
        )

    def context_of_files(
        self, can_access: Callable[[Path, int], bool] = lambda *_: True, **environ: str
    ):
        """Return the same for checks of files outside the machine's root."""
        return replace(self.context(**environ), can_access=can_access)


def elf(
    *needed: str,
    interpreter: str = "",
    runpath: str = "",
    machine: int = 183,
    size: int = 0,
    asked: Mapping[str, str] = MappingProxyType({}),
    defined: Sequence[str] = (),
) -> bytes:
    """Return a small ELF file with just what the loader reads.

    `asked` are versions by library, `defined` the versions that the file itself defines.
    """
    words = (*needed, runpath, interpreter, *asked, *asked.values(), *defined)
    names = b"\0" + b"".join(name.encode() + b"\0" for name in words)

    def at(name: str) -> int:
        return names.index(b"\0" + name.encode() + b"\0") + 1

    headers = 64 + 3 * 56
    entries = [(1, at(name)) for name in needed]
    entries += [(29, at(runpath))] if runpath else []
    needs = b"".join(
        struct.pack("<HHIIIIHHII", 1, 1, at(library), 16, 32, 0, 0, 2, at(version), 0)
        for library, version in asked.items()
    )
    versions = b"".join(
        struct.pack("<HHHHIIIII", 1, 0, 1, 1, 0, 20, 28, at(version), 0) for version in defined
    )
    lists = headers + len(names)
    entries += [(0x6FFFFFFE, lists), (0x6FFFFFFF, len(asked))] if asked else []
    entries += [(0x6FFFFFFC, lists + len(needs)), (0x6FFFFFFD, len(defined))] if defined else []
    names += needs + versions
    entries += [(5, headers), (0, 0)]
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in entries)
    total = headers + len(names) + len(dynamic)
    segments = [(1, 0, total), (2, headers + len(names), len(dynamic))]
    segments += [(3, headers + at(interpreter), len(interpreter) + 1)] if interpreter else []
    table = b"".join(
        struct.pack("<IIQQQQQQ", kind, 4, offset, offset, offset, length, length, 8)
        for kind, offset, length in segments
    ).ljust(3 * 56, b"\0")
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0
    )
    return (head + table + names + dynamic).ljust(size, b"\0")
