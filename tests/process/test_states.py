"""The table of states is complete, and nothing leaves it."""

import itertools
import runpy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.process import states
from axproxy.process.states import (
    HAS_PROCESS,
    TRANSITIONS,
    Event,
    IllegalTransition,
    State,
    advance,
    as_mermaid,
)

ARROWS = [(state, event) for state, arrows in TRANSITIONS.items() for event in arrows]
GAPS = [pair for pair in itertools.product(State, Event) if pair not in ARROWS]


def name(value: State | Event) -> str:
    return str(value.value)


def reachable_from(start: State) -> set[State]:
    found = {start}
    while new := {target for state in found for target in TRANSITIONS[state].values()} - found:
        found |= new
    return found


# What happens to a child, and the state after it.
HISTORIES = {
    "an ordinary life": (
        [Event.START, Event.ANSWERED, Event.STOP, Event.EXITED],
        State.STOPPED,
    ),
    "dies while loading and comes back": (
        [Event.START, Event.EXITED, Event.DELAY_OVER, Event.ANSWERED],
        State.READY,
    ),
    "cannot be spawned": ([Event.START, Event.SPAWN_FAILED], State.BACKOFF),
    "never answering counts as dying": (
        [Event.START, Event.TIMED_OUT, Event.EXITED, Event.RETRY],
        State.BACKOFF,
    ),
    "wedged and recycled": (
        [Event.START, Event.ANSWERED, Event.WEDGED, Event.EXITED, Event.RETRY, Event.DELAY_OVER],
        State.STARTING,
    ),
    "fails its self-test": ([Event.START, Event.WEDGED], State.STOPPING),
    "gave up": ([Event.START, Event.EXITED, Event.GAVE_UP], State.FAILED),
    "an operator tries again": (
        [Event.START, Event.EXITED, Event.GAVE_UP, Event.START],
        State.STARTING,
    ),
    "not wanted any more while it waits": ([Event.START, Event.EXITED, Event.STOP], State.STOPPED),
    "no longer wanted after the supervisor gave up": (
        [Event.START, Event.EXITED, Event.GAVE_UP, Event.STOP],
        State.STOPPED,
    ),
}


@pytest.mark.parametrize("history", HISTORIES)
def test_a_history_follows_the_table(history: str) -> None:
    events, end = HISTORIES[history]
    state = State.STOPPED
    for event in events:
        state = advance(state, event)
    assert state is end


@pytest.mark.parametrize(("state", "event"), ARROWS, ids=name)
def test_an_arrow_leads_where_the_table_says(state: State, event: Event) -> None:
    assert advance(state, event) is TRANSITIONS[state][event]


@pytest.mark.parametrize(("state", "event"), GAPS, ids=name)
def test_an_event_without_an_arrow_is_refused(state: State, event: Event) -> None:
    with pytest.raises(IllegalTransition, match=f"{event.value!r} .* while {state.value}"):
        advance(state, event)


@given(st.lists(st.sampled_from(Event)))
def test_no_history_leaves_the_table(history: list[Event]) -> None:
    state = State.STOPPED
    for event in history:
        legal = event in TRANSITIONS[state]
        try:
            after = advance(state, event)
        except IllegalTransition:
            assert not legal
        else:
            assert legal
            state = after
        assert state in TRANSITIONS


def test_every_state_has_a_row_and_every_event_an_arrow() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {event for _, event in ARROWS} == set(Event)


@pytest.mark.parametrize("state", State, ids=name)
def test_every_state_is_reached_and_left_again(state: State) -> None:
    assert state in reachable_from(State.STOPPED)
    assert {State.STOPPED, State.READY} <= reachable_from(state)


def test_only_a_state_with_a_process_has_an_exit() -> None:
    assert {state for state, event in ARROWS if event is Event.EXITED} == HAS_PROCESS


def test_every_state_that_runs_or_may_start_can_be_stopped() -> None:
    understood = {state for state, event in ARROWS if event is Event.STOP}
    assert understood == set(State) - {State.STOPPED, State.STOPPING}


def test_a_child_that_was_given_up_waits_for_an_operator() -> None:
    assert set(TRANSITIONS[State.FAILED]) == {Event.START, Event.STOP}


def test_only_an_answer_leads_to_ready() -> None:
    ways = {event for state, event in ARROWS if TRANSITIONS[state][event] is State.READY}
    assert ways == {Event.ANSWERED}


def test_the_diagram_shows_every_arrow_once() -> None:
    first, second, *drawn = as_mermaid().splitlines()
    assert (first, second) == ("stateDiagram-v2", "    [*] --> stopped")
    arrows = []
    for line in drawn:
        source, _, rest = line.strip().partition(" --> ")
        target, _, events = rest.partition(": ")
        arrows += [(source, event, target) for event in events.split(", ")]
    assert sorted(arrows) == sorted(
        (state.value, event.value, TRANSITIONS[state][event].value) for state, event in ARROWS
    )


def test_the_module_prints_its_diagram(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(states.__file__, run_name="__main__")
    assert capsys.readouterr().out == as_mermaid() + "\n"
