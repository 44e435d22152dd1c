"""Checks the kernel's log for a dead card or a broken link to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from axproxy.card.failure import recovery_steps
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding, Severity
from axproxy.preflight.pcie import cards_on_the_bus

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


def judge(records: list[KernelRecord], now: float, cards: int = 1) -> Finding:
    """Return the finding about these records.

    `now` is in seconds since the machine started.  `cards` is the number of cards in it: while
    another card is alive, a dead card does not prevent a start.
    """
    life = {said[1]: (said[2], each) for each in records if (said := _LIFE.search(each.text))}
    dead = [(each.at, bus) for bus, (word, each) in life.items() if word == "dead"]
    if dead:
        at, bus = max(dead)
        ago = now - at
        if ago <= RECENT:
            all_dead = sum(now - when <= RECENT for when, _ in dead) >= cards
            severity: Severity = "fail" if all_dead else "warn"
            return Finding(
                "kernel-log", severity, f"the kernel reports: device {bus}: dead!", recovery_steps()
            )
        seen = f"the kernel reported device {bus} as dead {ago / 60:.0f} minutes ago, nothing since"
        return Finding("kernel-log", "warn", seen, _SHOW_LOG)
    recent = [each.text for each in records if now - each.at <= 10 * RECENT]
    if broken := next((text for text in recent if _BROKEN_LINK.search(text)), None):
        seen = f"the kernel reports: {broken.strip()}"
        return Finding("kernel-log", "warn", seen, recovery_steps())
    if short := next((text for text in recent if _NO_MEMORY.search(text)), None):
        return Finding(
            "kernel-log",
            "warn",
            f"the kernel reports: {short.strip()}",
            "echo 1 | sudo tee /proc/sys/vm/compact_memory",
        )
    return Finding("kernel-log", "ok", "the kernel has not reported the card as dead")


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
    return judge(list(parse(text)), now, len(cards_on_the_bus(context)))


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
