"""Many measurements as a few numbers; no I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


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
    """How a cost y grows with a size x: the straight line `base + slope * x` that fits best."""

    base: float
    slope: float
    ratio: float  # of the cost at the greatest size to the cost at the smallest
    exponent: float  # of the size, in what the cost gains beyond `floor`

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

    The exponent compares the slope of the last stretch with the slope of the whole: a cost that
    grows ever faster climbs most at its end.  Raises `ValueError` for fewer sizes.
    """
    ordered = sorted(points)
    (x0, y0), (xn, yn) = ordered[0], ordered[-1]
    if x0 <= 0 or x0 == xn:
        raise ValueError("growth needs two sizes, above 0")
    mean_x = sum(x for x, _ in ordered) / len(ordered)
    mean_y = sum(y for _, y in ordered) / len(ordered)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in ordered) / sum(
        (x - mean_x) ** 2 for x, _ in ordered
    )
    return Growth(mean_y - slope * mean_x, slope, yn / max(y0, 1e-9), _exponent(ordered))


def _exponent(ordered: Sequence[tuple[float, float]]) -> float:
    """The power p of the curve `base + c * x**p` that goes through the first point, the last one
    and the one nearest to the middle of the sizes' logarithms; 0 for a cost that does not rise."""
    (x0, y0), (xn, yn) = ordered[0], ordered[-1]
    if yn <= y0:
        return 0.0
    between = ordered[1:-1]
    if not between:
        return 1.0
    xm, ym = min(between, key=lambda point: abs(math.log(point[0] ** 2 / (x0 * xn))))
    share = (ym - y0) / (yn - y0)
    low, high = 0.01, 8.0
    for _ in range(60):  # (xm**p - x0**p) / (xn**p - x0**p) falls as p rises
        p = (low + high) / 2
        here = ((xm / xn) ** p - (x0 / xn) ** p) / (1 - (x0 / xn) ** p)
        low, high = (p, high) if here > share else (low, p)
    return (low + high) / 2
