"""What the kernel has logged about a card that is dead, or about its link that is broken."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from axproxy.card.failure import recovery_steps
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding, Severity
from axproxy.preflight.pcie import cards_on_the_bus

RECENT = 60.0  # seconds; the driver repeats "dead!" every few seconds for as long as it is so
_MOST = 4 << 20  # bytes; the kernel's own buffer is smaller

# "4,812,93020131,-;[heartbeat_recv_thread, 591]: device 1: dead!": the number is the PCI bus.
_RECORD = re.compile(r"^\d+,\d+,(\d+),[^;]*;(.*)$")
_LIFE = re.compile(r"device ([0-9a-f]+): (dead|alive)!")
_BROKEN_LINK = re.compile(
    r"Recv port ack timeout|axcl pcie port create failed|request ports from device"
)
# Of an allocation the driver tries smaller and smaller pieces and logs each that fails; only these
# are its end.
_NO_MEMORY = re.compile(r"ax_sglist_alloc_mem.*(no free entries|dma_map_sg_attrs failed)")

_LOOK = "sudo dmesg | grep -iE 'axcl|device .*(dead|alive)'"


@dataclass(frozen=True)
class Record:
    """One line of the kernel's log; `at` is seconds since the machine started."""

    at: float
    text: str


def parse(text: str) -> Iterator[Record]:
    """The records of /dev/kmsg; what does not look like one is passed over."""
    for line in text.splitlines():
        if found := _RECORD.match(line):
            yield Record(int(found[1]) / 1e6, found[2])


def judge(records: list[Record], now: float, cards: int = 1) -> Finding:
    """`now` is seconds since the machine started, `cards` how many are in it: while another one
    lives, a dead one is no reason not to start."""
    life = {said[1]: (said[2], each) for each in records if (said := _LIFE.search(each.text))}
    dead = [(each.at, bus) for bus, (word, each) in life.items() if word == "dead"]
    if dead:
        at, bus = max(dead)
        ago = now - at
        if ago <= RECENT:
            all_dead = sum(now - when <= RECENT for when, _ in dead) >= cards
            verdict: Severity = "fail" if all_dead else "warn"
            return Finding(
                "kernel-log", verdict, f"the kernel says: device {bus}: dead!", recovery_steps()
            )
        return Finding(
            "kernel-log",
            "warn",
            f"{ago / 60:.0f} minutes ago the kernel said that device {bus} is dead, and since "
            "then nothing",
            _LOOK,
        )
    recent = [each.text for each in records if now - each.at <= 10 * RECENT]
    if broken := next((text for text in recent if _BROKEN_LINK.search(text)), None):
        return Finding("kernel-log", "warn", f"the kernel says: {broken.strip()}", recovery_steps())
    if short := next((text for text in recent if _NO_MEMORY.search(text)), None):
        return Finding(
            "kernel-log",
            "warn",
            f"the kernel says: {short.strip()}",
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
            "this user may not read the kernel's log",
            _LOOK,
        )
    return judge(list(parse(text)), now, len(cards_on_the_bus(context)))


def _read_kmsg(path: str) -> str:
    """Each read of the device gives one record, then EAGAIN; reading takes nothing away."""
    pieces, size = [], 0
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while size < _MOST:
            try:
                piece = os.read(number, 8192)
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue  # the record was overwritten while we read; the next one follows
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
    finally:
        os.close(number)
    return b"".join(pieces).decode(errors="replace")
