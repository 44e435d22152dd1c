"""Watches the card for `/health`, from a thread of its own.

It makes no calls while a model is being loaded.  After a runtime has ended it watches until the
card has freed the memory.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from axproxy.card.smi import AxclSmi, Reading, device_indices
from axproxy.card.smi_table import Card, NoTable, Table
from axproxy.health import CardHealth

POLL_INTERVAL = 15.0  # seconds; each call runs commands on the card
POLL_INTERVAL_HUNG = 60.0  # a dead card makes each call hang
POLL_INTERVAL_RELEASE = 1.0
MAX_AGE_INTERVALS = 3  # poll intervals after which a value is no longer shown
RELEASE_TIMEOUT = 60.0  # seconds
SLACK_MB = 256  # other programs on the card may have grown by this much meanwhile

_DEVICE = re.compile(r"device ([0-9a-fA-F]{1,4})\b")

log = logging.getLogger("card")


@dataclass(frozen=True)
class MemoryRelease:
    """Decides whether the card has freed the memory of the runtime `pid`, which ended at `since`.

    The driver frees it within a second or two in most cases.  A runtime that is started before that
    finds no memory, prints "100 %" all the same, and answers nonsense (users' reports).

    `since` is in seconds of the monitor's clock.  `before_mb` is what was in use before that
    runtime was started, `None` if that is not known.
    """

    pid: int
    since: float
    before_mb: int | None

    def waiting_for(self, reading: Reading | None, now: float) -> str | None:
        """Return what the next start must wait for.

        Returns `None` when the memory is free, when the time for waiting is over, and when
        `axcl-smi` cannot show it.
        """
        if now - self.since >= RELEASE_TIMEOUT:
            return None
        if reading is None or reading.begun < self.since:
            return f"waiting for the card to free its memory, at most {RELEASE_TIMEOUT:g} s"
        if isinstance(reading.result, NoTable):
            # These two may pass; the preflight checks judge the others.
            if reading.result.reason not in ("busy", "hung"):
                return None
            return f"cannot see yet whether the card is free: {reading.result.message}"
        return self._still_held(reading.result)

    def still_held(self, reading: Reading | None, now: float) -> str | None:
        """Return a warning if the time for waiting is over and the memory is still not free."""
        over = now - self.since >= RELEASE_TIMEOUT
        return self._still_held(reading.table) if over and reading and reading.table else None

    def _still_held(self, table: Table) -> str | None:
        if any(user.pid == self.pid for user in table.users):
            return f"the card still lists the runtime that has ended (pid {self.pid})"
        used = used_mb(table)
        if self.before_mb is not None and used is not None and used > self.before_mb + SLACK_MB:
            return (
                "the card has not freed the memory of the runtime that has ended: more than "
                f"{self.before_mb + SLACK_MB} MiB are in use, {self.before_mb} MiB were before it"
            )
        return None


class CardMonitor:
    """Keeps the latest reading of the card and delays the next runtime until the card is free.

    Its owner calls `start` and `stop`, any thread `device_health`, the supervisor's thread the
    rest.  A monitor that was not started knows nothing and delays nothing.
    """

    def __init__(
        self,
        smi: AxclSmi,
        device: str = "auto",
        *,
        clock: Callable[[], float] = time.monotonic,
        interval: float = POLL_INTERVAL,
    ) -> None:
        self.smi = smi
        self._device = device
        self._clock = clock
        self._interval = interval
        self._known: Reading | None = None  # the latest with a table
        self._release: MemoryRelease | None = None
        self._loading = False
        self._before_mb: int | None = None
        self._stopping = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="card", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread and the call under way; wait up to 5 s for that."""
        self._stopping = True
        self.smi.close()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def begin_load(self) -> None:
        """Make no more calls: the runtime is about to start and calls `axcl-smi` itself."""
        self.smi.pause()
        self._loading, self._release = True, None
        last = self.smi.last
        self._before_mb = used_mb(last.table) if last and last.table else None

    def end_load(self) -> None:
        """Allow calls again: the runtime is serving, or has ended."""
        if self._loading:
            self._loading = False
            self.smi.resume()

    def runtime_ended(self, pid: int) -> None:
        """Make `blocked_by` delay the next start until the card has freed the memory of `pid`."""
        self.end_load()
        if self._thread.is_alive():
            self._release = MemoryRelease(pid, self._clock(), self._before_mb)
            self._wake.set()

    def blocked_by(self) -> str | None:
        """Return why the next runtime cannot be started yet, or `None` when it can."""
        release, last, now = self._release, self.smi.last, self._clock()
        if release is None:
            return None
        if waiting := release.waiting_for(last, now):
            return waiting
        if held := release.still_held(last, now):
            log.warning("%s; starting the runtime anyway", held)
        elif last and last.table:
            log.info("the card was free %.1f s after the runtime's end", last.ended - release.since)
        self._release = None
        return None

    def number_of(self, sign: str | None) -> int:
        """Return the number for `axcl-smi -d` of the card that a line of the runtime's names.

        The library names it by its bus.  Of a line that names none it is the card in use.
        """
        device = _DEVICE.search(sign or "")
        table = self.smi.last.table if self.smi.last else None
        if device and table:
            for card in table.cards:
                if card.bus == int(device[1], 16):
                    return table.tool_number(card)
        return self.tool_number

    @property
    def tool_number(self) -> int:
        """The number for `axcl-smi -d` of the card in use; 0 if it is not known."""
        last = self.smi.last
        if last is None or last.table is None:
            return 0
        cards = self._in_use(last.table)
        return last.table.tool_number(cards[0]) if cards else 0

    def device_health(self) -> CardHealth:
        """Return what `/health` shows of the card in use, from the latest reading.

        `None` stands for values that are not known or too old.  Of several cards it shows the
        hottest temperature, the busiest NPU and the sum of their memory.
        """
        known = self._known
        cards: list[Card] = []
        max_age = MAX_AGE_INTERVALS * self._interval
        if known and known.table and self._clock() - known.ended <= max_age:
            cards = self._in_use(known.table)
        return CardHealth(
            temperature_c=_most([card.temperature_c for card in cards]),
            cmm_total_mb=_sum([card.cmm_total_mb for card in cards]),
            cmm_used_mb=_sum([card.cmm_used_mb for card in cards]),
            npu_percent=_most([card.npu_percent for card in cards]),
        )

    def _in_use(self, table: Table) -> list[Card]:
        names = device_indices(self._device, table).split(",")
        found = [table.card(int(name)) for name in names if name.strip().isdecimal()]
        return [card for card in found if card]

    def _run(self) -> None:
        while not self._stopping:
            try:
                if reading := self.smi.read(max_age=POLL_INTERVAL_RELEASE / 2):
                    self._update(reading)
                delay = self._delay_after(reading)
            except Exception:  # if this thread ended, the card would never be shown again
                log.exception("cannot read the state of the card")
                delay = self._interval
            self._wake.wait(delay)
            self._wake.clear()

    def _delay_after(self, reading: Reading | None) -> float:
        release = self._release
        if release and release.waiting_for(reading, self._clock()):
            return POLL_INTERVAL_RELEASE
        hung = reading and isinstance(reading.result, NoTable) and reading.result.reason == "hung"
        return max(POLL_INTERVAL_HUNG, self._interval) if hung else self._interval

    def _update(self, reading: Reading) -> None:
        result, before = reading.result, self._known
        if isinstance(result, NoTable) and result.reason == "busy":
            return
        self._known = reading if reading.table else None
        if before and isinstance(result, NoTable):
            log.warning("axcl-smi no longer shows the card: %s", result.message or result.reason)


def _most(values: list[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _sum(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def used_mb(table: Table) -> int | None:
    """Return the CMM in use on all cards together; `None` if one does not report it."""
    used = [card.cmm_used_mb for card in table.cards]
    return None if None in used else sum(mb for mb in used if mb is not None)
