"""Many measurements as a few numbers; no I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed.

    A value that was really measured, never one in between; of fewer than 100 values the 99th
    percentile is the greatest.  Raises `ValueError` when there is no value.
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
        """Raises `ValueError` when there is no value."""
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


FLAT, NEARLY_FLAT = 1.5, 3.0  # times the cost at the smallest size; less is mostly noise
LINEAR = 1.25  # an exponent; measurements of a straight line scatter a little around 1


def growth(points: Sequence[tuple[float, float]]) -> Growth:
    """The growth through points (size, cost), with at least two sizes, all above 0.

    Between two neighbouring sizes, a cost that doubles where the size does has the exponent 1, and
    one that grows fourfold has 2.  Raises `ValueError` for fewer sizes.
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
