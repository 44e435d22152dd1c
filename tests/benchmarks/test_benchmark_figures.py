"""The arithmetic of the benchmark's measurements."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Spread, growth, percentile
from benchmarks.timing import Run, chained, overhead

times = st.lists(st.floats(0, 1e6), min_size=1, max_size=300)


def test_the_99th_percentile_of_a_hundred_values_leaves_one_out() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert percentile(values, 0.99) == 99
    assert percentile(values, 0.5) == 50
    assert percentile(values, 1) == 100


def test_the_99th_percentile_of_few_values_is_the_greatest() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(median=2.0, p99=3.0, count=3)


@given(times, st.floats(0, 1))
def test_a_percentile_was_measured_and_enough_values_do_not_exceed_it(
    values: list[float], share: float
) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_nothing_measured_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 0.5)


SIZES = [1, 4, 16, 64, 256, 1024]

CURVES: dict[str, tuple[Callable[[float], float], str]] = {
    "constant": (lambda _: 5.0, "flat"),
    "a little noise": (lambda x: 5 + 0.5 * math.sin(x), "flat"),
    "one slow look at the end": (lambda x: 5 + 6 * (x == SIZES[-1]), "nearly flat"),
    "falling": (lambda x: 50 / x, "flat"),
    "a straight line": (lambda x: 2 * x, "linear or less"),
    "a straight line on a high base": (lambda x: 100 + 3 * x, "linear or less"),
    "a logarithm": (lambda x: 1 + math.log(x), "linear or less"),
    "a root": (math.sqrt, "linear or less"),
    "n log n on a base": (lambda x: 50 + x * math.log(x + 1), "linear or less"),
    "a square": (lambda x: 0.01 * x * x, "more than linear"),
    "flat, and steep at the end": (lambda x: 1 + 20 * (x == SIZES[-1]), "more than linear"),
    "a square on a high base": (lambda x: 1000 + x * x, "more than linear"),
}


@pytest.mark.parametrize("name", CURVES)
def test_growth_gets_the_right_verdict(name: str) -> None:
    cost, verdict = CURVES[name]
    assert growth([(x, cost(x)) for x in SIZES]).verdict == verdict


@given(st.floats(0.001, 1000), st.floats(0.25, 3))
def test_the_exponent_is_that_of_the_size(factor: float, exponent: float) -> None:
    found = growth([(x, factor * x**exponent) for x in SIZES])
    assert found.exponent == pytest.approx(exponent)


@given(st.floats(0, 1000), st.floats(0.001, 1000))
def test_no_straight_line_grows_more_than_its_size(base: float, slope: float) -> None:
    assert growth([(x, base + slope * x) for x in SIZES]).exponent <= 1 + 1e-9


@pytest.mark.parametrize("points", [[(1, 2)], [(0, 1), (5, 2)], [(3, 1), (3, 2)]])
def test_growth_needs_two_sizes(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="two sizes"):
        growth(points)


def run(begun: float, *arrivals: tuple[float, int]) -> Run:
    return Run(begun, arrivals)


def test_what_the_service_adds_is_the_difference_to_the_direct_median() -> None:
    direct = [
        run(10.0, (10.100, 3), (10.200, 6)),
        run(20.0, (20.100, 3), (20.200, 6)),
        run(30.0, (30.150, 3), (30.200, 6)),  # one slow poll
    ]
    service = [run(40.0, (40.105, 3), (40.210, 6)), run(50.0, (50.109, 3), (50.220, 6))]
    added = overhead(service, direct)
    assert added.first_text.median == pytest.approx(0.005)
    assert added.first_text.p99 == pytest.approx(0.009)
    assert added.lag.count == 4
    assert added.lag.p99 == pytest.approx(0.020)
    assert added.kept == pytest.approx(0.1 / 0.105)
    assert added.kept_in_all == pytest.approx(0.2 / 0.21)


def test_pieces_are_compared_by_their_text_wherever_it_was_cut() -> None:
    direct = [run(0.0, (0.1, 3), (0.2, 6), (0.3, 9)), run(0.0, (0.1, 3), (0.3, 9))]
    late_then_all = [run(0.0, (0.1, 1), (0.25, 8), (0.3, 9))]
    added = overhead(late_then_all, direct)
    assert added.lag.count == 3
    assert added.lag.p99 == pytest.approx(0.15)  # the first three characters came with eight


def test_answers_of_different_lengths_are_not_compared() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        overhead([run(0.0, (0.1, 3), (0.2, 6))], [run(0.0, (0.1, 3), (0.2, 7))])


def test_consecutive_runs_count_from_the_end_of_the_run_before() -> None:
    runs = [run(0.0, (3.0, 3), (4.0, 6)), run(0.0, (1.0, 3), (2.0, 6))]
    (second,) = chained(runs)
    assert second.first_text == pytest.approx(1.0)
    assert second.had(6) == pytest.approx(2.0)
