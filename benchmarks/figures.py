"""Turns many measurements into a few numbers; no I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of the values do not exceed.

    The result is always a measured value, never an interpolation; of fewer than 100 values the 99th
    percentile is the greatest.  Raises `ValueError` if there are no values.
    """
    if not values:
        raise ValueError("nothing was measured")
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


@dataclass(frozen=True)
class Spread:
    """A measurement that was repeated `count` times."""

    median: float
    p99: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise `values`.  Raises `ValueError` if there are none."""
        return cls(percentile(values, 0.5), percentile(values, 0.99), len(values))


@dataclass(frozen=True)
class Growth:
    """How a cost grows with a size."""

    ratio: float  # of the cost at the greatest size to the cost at the smallest
    exponent: float  # of the size, where the cost climbs most steeply

    @property
    def verdict(self) -> str:
        if self.ratio <= FLAT:
            return "flat"
        if self.ratio <= NEARLY_FLAT:
            return "nearly flat"
        return "linear or less" if self.exponent <= LINEAR else "more than linear"


FLAT, NEARLY_FLAT = 1.5, 3.0  # times the cost at the smallest size; a factor below 1.5 is noise
LINEAR = 1.25  # an exponent; measurements of a straight line vary a little around 1


def growth(points: Sequence[tuple[float, float]]) -> Growth:
    """Return the growth through points (size, cost) of at least two sizes, all above 0.

    If the size doubles between two neighbours, a cost that doubles has the exponent 1, a cost that
    grows fourfold has 2.  Raises `ValueError` for fewer sizes.
    """
    ordered = sorted((size, max(cost, 1e-9)) for size, cost in points)
    (smallest, first), (greatest, last) = ordered[0], ordered[-1]
    if smallest <= 0 or smallest == greatest:
        raise ValueError("growth needs two sizes, above 0")
    steepest = max(
        math.log(cost / cost_before) / math.log(size / size_before)
        for (size_before, cost_before), (size, cost) in pairwise(ordered)
        if size > size_before
    )
    return Growth(last / first, steepest)
