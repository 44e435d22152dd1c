"""A child that fails is started again after growing delays; then the supervisor gives up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.process.restart import RestartPolicy


@pytest.mark.parametrize(
    ("deaths", "delay"),
    [(0, 1), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (9, None), (100, None)],
)
def test_delays_double_up_to_a_minute_and_end_after_eight_failures(
    deaths: int, delay: float | None
) -> None:
    assert RestartPolicy().delay(deaths) == delay


@pytest.mark.parametrize(("ready_for", "forgiven"), [(0, False), (119.9, False), (120, True)])
def test_two_minutes_without_a_failure_reset_the_count(ready_for: float, forgiven: bool) -> None:
    assert RestartPolicy().forgiven(ready_for) is forgiven


policies = st.builds(
    RestartPolicy,
    attempts=st.integers(0, 50),
    first_delay=st.floats(0.01, 10),
    longest_delay=st.floats(10, 1000),
)


@given(policies)
def test_each_delay_is_at_least_the_one_before_and_none_is_too_long(policy: RestartPolicy) -> None:
    delays = [policy.delay(deaths) for deaths in range(1, policy.attempts + 1)]
    assert None not in delays
    assert delays == sorted(delays, key=lambda delay: delay or 0.0)
    assert all(policy.first_delay <= (delay or 0) <= policy.longest_delay for delay in delays)


@given(policies, st.integers(1, 1000))
def test_more_failures_than_attempts_mean_giving_up(policy: RestartPolicy, more: int) -> None:
    assert policy.delay(policy.attempts + more) is None
