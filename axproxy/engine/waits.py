"""Estimates how long a request will wait, from how long earlier ones ran.  It has no clock."""

from __future__ import annotations

from collections.abc import Sequence

REMEMBERED = 32  # runs; a change of habits shows after as many


def expected_wait(runs: Sequence[float], running_for: float | None, ahead: int) -> float | None:
    """Return the seconds until the turn of a request, None where no run has been measured.

    `runs` are how long the last requests ran, in seconds, `running_for` how long the present one
    has run (None: none does), and `ahead` how many have their turn before.
    """
    if not runs:
        return None
    typical = sum(runs) / len(runs)
    rest = 0.0 if running_for is None else _rest_of(runs, running_for, typical)
    return rest + ahead * typical


def _rest_of(runs: Sequence[float], running_for: float, typical: float) -> float:
    """Return how long runs that took longer than `running_for` went on, on average."""
    longer = [run for run in runs if run > running_for]
    return sum(longer) / len(longer) - running_for if longer else typical
