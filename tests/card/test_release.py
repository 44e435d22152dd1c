"""The next runtime waits until the card has freed the memory of the last one, within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.card.release import PATIENCE, Release
from axproxy.card.smi import Reading
from axproxy.card.smi_table import NoTable, read_table
from tests.support import fake_axcl_smi as fake

ENDED = 100.0
RELEASE = Release(pid=84643, since=ENDED, before_mb=18)


def reading(scenario: str, begun: float = ENDED + 1, pid: int = 84643) -> Reading:
    return Reading(read_table(fake.scenario(scenario, pid)), begun, begun + 0.5)


@pytest.mark.parametrize(
    ("seen", "waiting_for"),
    [
        (None, "waiting to see"),
        (reading("idle", begun=ENDED - 0.1), "waiting to see"),  # it was asked before the end
        (reading("loaded"), "still lists the runtime"),
        (reading("leaked"), "more than 274 MiB are in use, 18 were before it"),
        (reading("loaded", pid=5), "more than 274 MiB"),
        (reading("busy"), "cannot see yet"),
        (reading("idle"), None),
        (reading("driverless"), None),
        (reading("dead"), None),
        (Reading(NoTable("hung", "no answer"), ENDED + 1, ENDED + 11), "cannot see yet"),
        (Reading(NoTable("missing", "no program"), ENDED + 1, ENDED + 1), None),
    ],
)
def test_a_start_waits_for_the_memory_to_fall(
    seen: Reading | None, waiting_for: str | None
) -> None:
    pending = RELEASE.pending(seen, ENDED + 12)

    assert (waiting_for or "") in (pending or "")
    assert bool(pending) == bool(waiting_for)


def test_where_it_is_not_known_what_was_used_before_the_pid_alone_tells() -> None:
    release = Release(84643, ENDED, before_mb=None)

    assert release.pending(reading("loaded"), ENDED + 2)
    assert release.pending(reading("loaded", pid=5), ENDED + 2) is None


def test_the_wait_is_bounded_and_its_end_says_what_was_not_reached() -> None:
    late = ENDED + PATIENCE

    assert RELEASE.pending(reading("loaded"), late) is None
    assert "still lists" in (RELEASE.settled(reading("loaded"), late) or "")
    assert RELEASE.settled(reading("idle"), late) is None
    assert RELEASE.settled(reading("loaded"), ENDED + 1) is None


@given(
    st.none() | st.text(max_size=80).map(lambda text: Reading(read_table(text), ENDED + 1, ENDED)),
    st.floats(0, 1000),
)
def test_whatever_the_card_says_nobody_waits_for_ever(seen: Reading | None, waited: float) -> None:
    assert waited < PATIENCE or RELEASE.pending(seen, ENDED + waited) is None
