"""When the pieces of an answer came, directly and through the service; no I/O."""

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
        """Seconds until so many characters were there.  Raises `IndexError` if they never were."""
        at = bisect_left(self.arrivals, characters, key=lambda arrival: arrival[1])
        return self.arrivals[at][0] - self.begun


def chained(runs: Sequence[Run]) -> list[Run]:
    """Runs that followed each other, each counted from the last text of the one before: the moment
    from which it could have begun.  The first has none before it and is left out."""
    ordered = sorted(runs, key=lambda run: run.first)
    return [replace(run, begun=before.last) for before, run in pairwise(ordered)]


@dataclass(frozen=True)
class Overhead:
    """What the service adds, in seconds, and the share of the direct speed that is kept: `kept`
    from the first text to the last, `kept_in_all` from `begun`."""

    first_text: Spread
    lag: Spread
    kept: float
    kept_in_all: float
    direct_first_text: Spread  # not a difference: how steady the measurement itself is


def overhead(service: Sequence[Run], direct: Sequence[Run]) -> Overhead:
    """The same answer, several times each way.

    Each piece is compared with the median of the same piece directly, both counted from their
    `begun`, so the lag of a late first text is in the lag of all that follow.  Raises `ValueError`
    when the answers are not the same length, or come in one piece.
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
    """Where the runtime's pieces end, in characters: a poll may take two pieces at once, so the run
    with the most of them knows best."""
    finest = max(runs, key=lambda run: len(run.arrivals))
    return [characters for _, characters in finest.arrivals]
