"""What the tests of single modules share."""

import time
from collections.abc import Callable

import hypothesis
import pytest

# Other programs may keep the machine busy, so no example is timed.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(name="until")
def waits_for_a_condition() -> Callable[[Callable[[], bool]], None]:
    """Returns once a condition holds; fails when it does not within ten seconds."""

    def until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.002)

    return until
