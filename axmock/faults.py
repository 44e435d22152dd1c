"""The faults that can be switched on, one group for each part that has them.

The first `spared` answers are free of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineFaults:
    """Faults of the bookkeeping around an answer."""

    spared: int = 0
    stick_running: bool = False  # the running flag stays set for ever
    full_context: bool = False  # every prompt is refused


@dataclass(frozen=True)
class ModelFaults:
    """Faults that begin after this many tokens of an answer; None means never."""

    spared: int = 0
    crash_after: int | None = None
    hang_after: int | None = None
    lose_card_after: int | None = None
    layer_missing: bool = False  # the first prefill aborts, spared or not


@dataclass(frozen=True)
class PollFaults:
    """Faults of /api/generate_provider; both counts start again with each generation."""

    spared: int = 0
    failing: int = 0  # polls that get a 500
    garbage: int = 0  # polls after those that get half a JSON text
    bad_utf8: bool = False  # the first poll with text gets a 500
