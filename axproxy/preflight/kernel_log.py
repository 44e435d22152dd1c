"""Checks the kernel's log for a dead card or a broken link to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from axproxy.card.failure import recovery_steps
from axproxy.preflight.context import CheckContext
from axproxy.preflight.driver import reinstall
from axproxy.preflight.finding import Finding, Severity
from axproxy.preflight.pcie import bus_of, cards_on_the_bus

RECENT = 60.0  # seconds; the driver repeats "dead!" every few seconds while the card is dead
_MAX_BYTES = 4 << 20  # the kernel's own buffer is smaller

# "4,812,93020131,-;[heartbeat_recv_thread, 591]: device 1: dead!": the number is the PCI bus.
_RECORD = re.compile(r"^\d+,\d+,(\d+),[^;]*;(.*)$")
_LIFE = re.compile(r"device ([0-9a-f]+): (dead|alive)!")
_BROKEN_LINK = re.compile(
    r"Recv port ack timeout|axcl pcie port create failed|request ports from device"
)
# The driver tries an allocation in smaller and smaller pieces and logs each failure; only these
# lines mean that it has given up.
_NO_MEMORY = re.compile(r"ax_sglist_alloc_mem.*(no free entries|dma_map_sg_attrs failed)")

DEVICE = re.compile(r"device ([0-9a-f]{1,4})\b", re.IGNORECASE)
# "Patch file not found axcl/ax650_card.pac.", "Device 1 firmware load failed."
_FIRMWARE = re.compile(r"patch file|firmware load", re.IGNORECASE)
_FAILED = re.compile(r"not found|fail", re.IGNORECASE)
_REINSTALL = "sudo apt install --reinstall axclhost && sudo reboot"
_SLEEP = re.compile(r"PM: (suspend|hibernation): ?(hibernation )?entry|PM: suspend entry")
_NO_SLEEP = (
    "sudo systemctl mask sleep.target suspend.target hibernate.target hybrid-sleep.target; "
    "then power off at the wall (a reboot does not cut the card's power)"
)
_SHOW_LOG = "sudo dmesg | grep -iE 'axcl|device .*(dead|alive)'"


@dataclass(frozen=True)
class KernelRecord:
    """One line of the kernel's log; `at` is in seconds since the machine started."""

    at: float
    text: str


def parse(text: str) -> Iterator[KernelRecord]:
    """Yield the records of /dev/kmsg; other lines are ignored."""
    for line in text.splitlines():
        if found := _RECORD.match(line):
            yield KernelRecord(int(found[1]) / 1e6, found[2])


def judge(
    records: list[KernelRecord],
    now: float,
    buses: Sequence[int] = (1,),
    reinstalling: str = _REINSTALL,
) -> Finding:
    """Return the finding about these records.

    `now` is in seconds since the machine started.  `buses` are the numbers of the cards' buses, in
    the order of their indices: while another card is alive, a dead card does not prevent a start.
    `reinstalling` is how the driver's package is installed again.
    """
    life = {said[1]: (said[2], each) for each in records if (said := _LIFE.search(each.text))}
    dead = [(each.at, bus) for bus, (word, each) in life.items() if word == "dead"]
    if dead:
        return _dead(records, dead, now, buses)
    recent = [each.text for each in records if now - each.at <= 10 * RECENT]
    if broken := next((text for text in recent if _BROKEN_LINK.search(text)), None):
        seen = f"the kernel reports: {broken.strip()}"
        device = DEVICE.search(broken)
        return Finding("kernel-log", "warn", seen, steps_for(device and device[1], buses))
    loaded = [each.text.strip() for each in records if _FIRMWARE.search(each.text)]
    if loaded and not life and _FAILED.search(loaded[-1]):
        missing = next((text for text in loaded if "not found" in text), None)
        what = "file is missing" if missing else "could not be loaded"
        seen = f"the card's firmware {what}; the kernel reports: {missing or loaded[-1]}"
        remedy = f"reinstall the driver package, which has the firmware in it: {reinstalling}"
        return Finding("kernel-log", "warn", seen, remedy)
    if short := next((text for text in recent if _NO_MEMORY.search(text)), None):
        return Finding(
            "kernel-log",
            "warn",
            f"the kernel reports: {short.strip()}",
            "echo 1 | sudo tee /proc/sys/vm/compact_memory",
        )
    return Finding("kernel-log", "ok", "the kernel has not reported the card as dead")


def _dead(
    records: list[KernelRecord], dead: list[tuple[float, str]], now: float, buses: Sequence[int]
) -> Finding:
    at, bus = max(dead)
    ago = now - at
    alive = [each.at for each in records if f"device {bus}: alive!" in each.text]
    since = max(alive, default=0.0)
    slept = any(_SLEEP.search(each.text) for each in records if since <= each.at <= at)
    # A suspended host cuts the card off; it comes back as dead, and will again.
    why, remedy = (" since the host went to sleep", _NO_SLEEP) if slept else ("", _SHOW_LOG)
    if ago <= RECENT:
        all_dead = sum(now - when <= RECENT for when, _ in dead) >= len(buses)
        severity: Severity = "fail" if all_dead else "warn"
        seen = f"the kernel reports: device {bus}: dead!{why}"
        return Finding("kernel-log", severity, seen, _NO_SLEEP if slept else steps_for(bus, buses))
    seen = (
        f"the kernel reported device {bus} as dead{why} {ago / 60:.0f} minutes ago, nothing since"
    )
    return Finding("kernel-log", "warn", seen, remedy)


def steps_for(bus: str | None, buses: Sequence[int]) -> str:
    """Return the recovery steps for the card on this bus, a hexadecimal number."""
    number = int(bus, 16) if bus else None
    if number is not None and number in buses:
        return recovery_steps(list(buses).index(number), number)
    return recovery_steps(0 if len(buses) < 2 else "N, its number in axcl-smi")


def check_kernel_log(context: CheckContext) -> Finding:
    try:
        text = _read_kmsg(str(context.at("/dev/kmsg")))
        now = float(context.text("/proc/uptime").split()[0])
    except (OSError, ValueError, IndexError):
        return Finding(
            "kernel-log",
            "skip",
            "this user cannot read the kernel's log",
            _SHOW_LOG,
        )
    buses = [bus_of(card) for card in cards_on_the_bus(context)]
    return judge(list(parse(text)), now, buses, reinstall(context, "sudo reboot"))


def _read_kmsg(path: str) -> str:
    """Return the kernel's log.  Each read gives one record, in the end EAGAIN; none is consumed."""
    pieces, size = [], 0
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while size < _MAX_BYTES:
            try:
                piece = os.read(number, 8192)
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue  # the record was overwritten meanwhile; the next read returns the next one
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
    finally:
        os.close(number)
    return b"".join(pieces).decode(errors="replace")
