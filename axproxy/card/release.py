"""Whether the card has freed the memory of a runtime that has ended.

The driver frees it within a second or two of most deaths, but a runtime that is started before that
finds no room, says "100 %" all the same, and answers nonsense (users' reports).
"""

from __future__ import annotations

from dataclasses import dataclass

from axproxy.card.smi import Reading
from axproxy.card.smi_table import NoTable, Table

PATIENCE = 60.0  # seconds
SLACK_MB = 256  # other programs on the card may have grown by so much meanwhile


@dataclass(frozen=True)
class Release:
    """The runtime `pid` has ended at `since` seconds; `before_mb` was in use before it was started,
    or `None` where that is not known."""

    pid: int
    since: float
    before_mb: int | None

    def pending(self, reading: Reading | None, now: float) -> str | None:
        """What must be waited for before the next start; `None` when nothing, or when waiting has
        not helped, or when nobody can tell."""
        if now - self.since >= PATIENCE:
            return None
        if reading is None or reading.begun < self.since:
            return f"waiting to see that the card has freed its memory, at most {PATIENCE:g} s"
        if isinstance(reading.said, NoTable):
            # These may pass; anything else is for the preflight check to judge.
            if reading.said.why not in ("busy", "hung"):
                return None
            return f"cannot see yet whether the card has freed its memory: {reading.said.said}"
        return self._held(reading.said)

    def settled(self, reading: Reading | None, now: float) -> str | None:
        """A warning once the wait is over and the card is still not free."""
        if now - self.since < PATIENCE or reading is None or not isinstance(reading.said, Table):
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


def used_mb(table: Table) -> int | None:
    """CMM in use on all cards; `None` when one does not tell."""
    used = [card.cmm_used_mb for card in table.cards]
    return None if None in used else sum(mb for mb in used if mb is not None)
