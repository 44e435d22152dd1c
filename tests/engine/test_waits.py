"""How long a request will wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.engine.waits import expected_wait


@pytest.mark.parametrize(
    ("runs", "running_for", "ahead", "wait"),
    [
        ([], None, 3, None),
        ([10.0], None, 0, 0.0),
        ([10.0], 4.0, 0, 6.0),
        ([10.0], 4.0, 2, 26.0),
        ([2.0, 10.0], 0.0, 1, 12.0),
        ([2.0, 10.0], 4.0, 0, 6.0),  # it is none of the short ones
        ([2.0, 10.0], 30.0, 0, 6.0),  # it takes longer than any other did
    ],
)
def test_the_wait_follows_from_earlier_runs(
    runs: list[float], running_for: float | None, ahead: int, wait: float | None
) -> None:
    assert expected_wait(runs, running_for, ahead) == wait


seconds = st.floats(0.01, 1000)


@given(st.lists(seconds, min_size=1), st.none() | seconds, st.integers(0, 50))
def test_no_wait_is_negative_and_each_request_ahead_makes_it_longer(
    runs: list[float], running_for: float | None, ahead: int
) -> None:
    waits = [expected_wait(runs, running_for, ahead + more) for more in (0, 1)]
    assert waits[0] is not None
    assert waits[1] is not None
    assert 0 <= waits[0] < waits[1]
