"""Compares when the pieces of an answer came, directly and through the service; no I/O."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from benchmarks.figures import Spread, percentile


@dataclass(frozen=True)
class Run:
    """One answer.  Times are in seconds on one clock; `arrivals` are (time, characters so far)."""

    begun: float
    arrivals: tuple[tuple[float, int], ...]

    @property
    def first(self) -> float:
        """When the first text came."""
        return self.arrivals[0][0]

    @property
    def last(self) -> float:
        """When the last text came."""
        return self.arrivals[-1][0]

    @property
    def characters(self) -> int:
        return self.arrivals[-1][1]

    @property
    def first_text(self) -> float:
        """Seconds until the first text."""
        return self.first - self.begun

    def had(self, characters: int) -> float:
        """Return the seconds until `characters` had come.  Raises `IndexError` if fewer came."""
        at = bisect_left(self.arrivals, characters, key=lambda arrival: arrival[1])
        return self.arrivals[at][0] - self.begun


def chained(runs: Sequence[Run]) -> list[Run]:
    """Return consecutive runs, each counted from the last text of the run before it.

    From that moment on it could have begun.  The first run has none before it and is left out.
    """
    ordered = sorted(runs, key=lambda run: run.first)
    return [replace(run, begun=before.last) for before, run in pairwise(ordered)]


@dataclass(frozen=True)
class Overhead:
    """The seconds that the service adds, and the share of the direct speed that it keeps.

    `kept` is counted from the first text to the last, `kept_in_all` from `begun`.
    """

    first_text: Spread
    lag: Spread
    kept: float
    kept_in_all: float
    direct_first_text: Spread  # not a difference: how steady the measurement itself is


def overhead(service: Sequence[Run], direct: Sequence[Run]) -> Overhead:
    """Compare several runs of the same answer through the service and directly.

    Each piece is compared with the direct median of the same piece, both counted from their
    `begun`, so a late first text also delays all later pieces.  Raises `ValueError` if the answers
    differ in length, or come in one piece.
    """
    lengths = {run.characters for run in (*service, *direct)}
    if len(lengths) != 1:
        raise ValueError(f"the answers differ in length: {sorted(lengths)} characters")
    ends = _piece_ends(direct)
    usual = {end: percentile([run.had(end) for run in direct], 0.5) for end in ends}
    first = percentile([run.first_text for run in direct], 0.5)
    return Overhead(
        first_text=Spread.of([run.first_text - first for run in service]),
        lag=Spread.of([run.had(end) - usual[end] for run in service for end in ends]),
        kept=_usual(direct, _streaming) / _usual(service, _streaming),
        kept_in_all=_usual(direct, _whole) / _usual(service, _whole),
        direct_first_text=Spread.of([run.first_text for run in direct]),
    )


def _usual(runs: Sequence[Run], seconds: Callable[[Run], float]) -> float:
    return percentile([seconds(run) for run in runs], 0.5)


def _streaming(run: Run) -> float:
    if len(run.arrivals) == 1:
        raise ValueError("an answer in one piece has no speed")
    return run.last - run.first


def _whole(run: Run) -> float:
    return run.last - run.begun


def _piece_ends(runs: Sequence[Run]) -> list[int]:
    """Return where the runtime's pieces end, in characters.

    A poll may take two pieces at once, so the run with the most pieces is the most accurate.
    """
    finest = max(runs, key=lambda run: len(run.arrivals))
    return [characters for _, characters in finest.arrivals]
