"""The card as `/health` shows it, asked for now and then by a thread of its own.

It keeps quiet while a model is being loaded, and watches the card's memory fall after a runtime has
ended.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from axproxy.card.smi import AxclSmi, Reading, device_indices
from axproxy.card.smi_table import Card, NoTable, Table
from axproxy.health import CardHealth

CADENCE = 15.0  # seconds; each call runs commands on the card
CADENCE_DEAD = 60.0  # a dead card makes each call hang
CADENCE_RELEASE = 1.0
STALE = 3  # cadences after which a value is not shown any more
RELEASE_TIMEOUT = 60.0  # seconds
SLACK_MB = 256  # other programs on the card may have grown by so much meanwhile

log = logging.getLogger("card")


@dataclass(frozen=True)
class Release:
    """Whether the card has freed the memory of a runtime that has ended.

    The driver frees it within a second or two of most deaths, but a runtime that is started before
    that finds no room, says "100 %" all the same, and answers nonsense (users' reports).

    The runtime `pid` has ended at `since` seconds; `before_mb` was in use before it was started,
    or `None` where that is not known."""

    pid: int
    since: float
    before_mb: int | None

    def pending(self, reading: Reading | None, now: float) -> str | None:
        """What must be waited for before the next start; `None` when nothing, or when waiting has
        not helped, or when nobody can tell."""
        if now - self.since >= RELEASE_TIMEOUT:
            return None
        if reading is None or reading.begun < self.since:
            return (
                f"waiting to see that the card has freed its memory, at most {RELEASE_TIMEOUT:g} s"
            )
        if isinstance(reading.said, NoTable):
            # These may pass; anything else is for the preflight check to judge.
            if reading.said.why not in ("busy", "hung"):
                return None
            return f"cannot see yet whether the card has freed its memory: {reading.said.said}"
        return self._held(reading.said)

    def settled(self, reading: Reading | None, now: float) -> str | None:
        """A warning once the wait is over and the card is still not free."""
        if (
            now - self.since < RELEASE_TIMEOUT
            or reading is None
            or not isinstance(reading.said, Table)
        ):
            return None
        return self._held(reading.said)

    def _held(self, table: Table) -> str | None:
        if any(holder.pid == self.pid for holder in table.holders):
            return f"the card still lists the runtime that has ended (pid {self.pid})"
        used = used_mb(table)
        if self.before_mb is not None and used is not None and used > self.before_mb + SLACK_MB:
            return (
                "the card has not freed the memory of the runtime that has ended: more than "
                f"{self.before_mb + SLACK_MB} MiB are in use, {self.before_mb} were before it"
            )
        return None


class CardMonitor:
    """`start` and `stop` are its owner's, `device_health` anybody's; the rest is called by the
    supervisor's thread.  Not started, it knows nothing."""

    def __init__(
        self,
        smi: AxclSmi,
        device: str = "auto",
        *,
        clock: Callable[[], float] = time.monotonic,
        cadence: float = CADENCE,
    ) -> None:
        self.smi = smi
        self._device = device
        self._clock = clock
        self._cadence = cadence
        self._known: Reading | None = None  # the latest with a table
        self._release: Release | None = None
        self._loading = False
        self._before_mb: int | None = None
        self._leaving = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="card", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing is asked any more."""
        self._leaving = True
        self.smi.close()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def begin_load(self) -> None:
        """The runtime is about to be started, and asks `axcl-smi` itself."""
        self.smi.hush()
        self._loading, self._release = True, None
        last = self.smi.last
        self._before_mb = used_mb(last.table) if last and last.table else None

    def end_load(self) -> None:
        """It serves, or is gone."""
        if self._loading:
            self._loading = False
            self.smi.unhush()

    def runtime_ended(self, pid: int) -> None:
        """From now on `blocked_by` tells when the next one may be started."""
        self.end_load()
        if self._thread.is_alive():
            self._release = Release(pid, self._clock(), self._before_mb)
            self._wake.set()

    def blocked_by(self) -> str | None:
        """What keeps a runtime from being started because the last one is not off the card yet."""
        release, last, now = self._release, self.smi.last, self._clock()
        if release is None:
            return None
        if waiting := release.pending(last, now):
            return waiting
        if still := release.settled(last, now):
            log.warning("%s; starting the runtime anyway", still)
        elif last and last.table:
            log.info("the card was free %.1f s after the runtime's end", last.at - release.since)
        self._release = None
        return None

    @property
    def tool_number(self) -> int:
        """What `axcl-smi -d` calls the card in use; 0 where that is not known."""
        last = self.smi.last
        if last is None or last.table is None:
            return 0
        cards = self._in_use(last.table)
        return last.table.tool_number(cards[0]) if cards else 0

    def device_health(self) -> CardHealth:
        """Of the card in use, from memory; `None` for what is not known, or not any more.  With
        several the hottest, the busiest, and their memory in all."""
        known = self._known
        cards: list[Card] = []
        if known and known.table and self._clock() - known.at <= STALE * self._cadence:
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
        while not self._leaving:
            try:
                if reading := self.smi.look(max_age=CADENCE_RELEASE / 2):
                    self._take(reading)
                pause = self._pause_after(reading)
            except Exception:  # without this thread the card would not be shown ever again
                log.exception("the card could not be looked at")
                pause = self._cadence
            self._wake.wait(pause)
            self._wake.clear()

    def _pause_after(self, reading: Reading | None) -> float:
        release = self._release
        if release and release.pending(reading, self._clock()):
            return CADENCE_RELEASE
        hung = reading and isinstance(reading.said, NoTable) and reading.said.why == "hung"
        return max(CADENCE_DEAD, self._cadence) if hung else self._cadence

    def _take(self, reading: Reading) -> None:
        busy = isinstance(reading.said, NoTable) and reading.said.why == "busy"
        before = self._known
        if not busy:
            self._known = reading if reading.table else None
        if before and not busy and isinstance(reading.said, NoTable):
            log.warning("the card is not shown any more: %s", reading.said.said or reading.said.why)


def _most(values: list[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _sum(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def used_mb(table: Table) -> int | None:
    """CMM in use on all cards; `None` when one does not tell."""
    used = [card.cmm_used_mb for card in table.cards]
    return None if None in used else sum(mb for mb in used if mb is not None)
