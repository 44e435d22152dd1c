"""Which models are on the card when several are asked for."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.engine.switching import ModelState, Step, next_step

NOW = 1000.0


def alone(keys: frozenset[object]) -> bool:
    return len(keys) <= 1


def two(keys: frozenset[object]) -> bool:
    return len(keys) <= 2


def step(*states: ModelState, fits: Callable[[frozenset[object]], bool] = alone) -> Step:
    return next_step(states, fits, NOW, stay=20)


def test_the_first_model_is_loaded_at_once() -> None:
    assert step(ModelState("a", waiting=NOW)) == Step(load="a")


def test_requests_for_a_model_on_the_card_go_on() -> None:
    assert step(ModelState("a", on_card=True, waiting=NOW)) == Step(frozenset("a"))


def test_an_idle_model_leaves_for_another_one() -> None:
    assert step(ModelState("a", on_card=True), ModelState("b", waiting=NOW)) == Step(
        evict=("a",), load="b"
    )


def test_a_running_answer_ends_before_its_model_leaves() -> None:
    busy = ModelState("a", on_card=True, active=1)
    assert step(busy, ModelState("b", waiting=NOW - 900)) == Step()


def test_requests_for_a_busy_model_go_first_for_a_while_and_then_wait() -> None:
    busy = ModelState("a", on_card=True, active=1, waiting=NOW)
    assert step(busy, ModelState("b", waiting=NOW - 19)) == Step(frozenset("a"))
    assert step(busy, ModelState("b", waiting=NOW - 20)) == Step()


def test_models_that_fit_together_stay_together() -> None:
    idle = ModelState("a", on_card=True)
    assert step(idle, ModelState("b", waiting=NOW), fits=two) == Step(load="b")


def test_the_least_recently_used_model_leaves_first_and_a_pinned_one_last() -> None:
    states = [
        ModelState("old", on_card=True, last_used=1, pinned=True),
        ModelState("used", on_card=True, last_used=3, waiting=NOW),
        ModelState("idle", on_card=True, last_used=2),
        ModelState("new", waiting=NOW),
    ]
    assert next_step(states, lambda keys: len(keys) <= 3, NOW) == Step(
        frozenset(["used"]), ("idle",), "new"
    )
    states[2] = ModelState("idle", on_card=True, last_used=2, pinned=True)
    states[1] = ModelState("used", on_card=True, last_used=3, pinned=True)
    assert next_step(states, lambda keys: len(keys) <= 3, NOW).evict == ("old",)


def test_a_model_that_fits_nowhere_gets_the_whole_card_so_that_its_load_says_why() -> None:
    idle = ModelState("a", on_card=True)
    assert step(idle, ModelState("b", waiting=NOW), fits=lambda _keys: False).load == "b"


def test_of_two_absent_models_the_one_asked_for_first_is_loaded_first() -> None:
    assert step(ModelState("b", waiting=NOW), ModelState("c", waiting=NOW - 1)).load == "c"


states_of_a_pool = st.lists(
    st.builds(
        ModelState,
        st.sampled_from("abcdef"),
        st.booleans(),
        st.integers(0, 2),
        st.none() | st.floats(0, NOW),
        st.floats(0, NOW),
        st.booleans(),
    ).map(lambda state: state if state.on_card else ModelState(state.key, waiting=state.waiting)),
    unique_by=lambda state: state.key,
)


@given(states_of_a_pool, st.integers(1, 4))
def test_a_step_never_ends_an_answer_and_never_overfills_the_card(
    states: list[ModelState], room: int
) -> None:
    by_key = {state.key: state for state in states}
    done = next_step(states, lambda keys: len(keys) <= room, NOW)
    assert all(by_key[key].on_card and by_key[key].waiting is not None for key in done.admit)
    assert all(by_key[key].on_card and not by_key[key].active for key in done.evict)
    assert not done.admit & set(done.evict)
    if done.load is not None:
        assert not by_key[done.load].on_card
        left = {state.key for state in states if state.on_card} - set(done.evict)
        assert len(left) + 1 <= max(room, 1)


# A simulation: one card, one answer at a time, loads that take a minute.

LOAD, ANSWER = 60.0, 10.0


@dataclass
class Simulated:
    """How long each request waited for its answer to begin, and how many loads there were."""

    waits: list[float]
    loads: int


Choose = Callable[[str, Sequence[tuple[float, str]], float], str]


def simulate(requests: Sequence[tuple[float, str]], choose: Choose) -> Simulated:
    """Serve requests (when, model) one at a time; `choose` picks the model to serve next."""
    coming, queue = deque(sorted(requests)), list[tuple[float, str]]()
    now, loaded, done = 0.0, "", Simulated([], 0)
    while coming or queue:
        if not queue:
            now = max(now, coming[0][0])
        while coming and coming[0][0] <= now:
            queue.append(coming.popleft())
        model = choose(loaded, queue, now)
        if model != loaded:
            now, loaded, done.loads = now + LOAD, model, done.loads + 1
        request = next(each for each in queue if each[1] == model)
        queue.remove(request)
        done.waits.append(now - request[0])
        now += ANSWER
    return done


def in_order(_loaded: str, queue: Sequence[tuple[float, str]], _now: float) -> str:
    """Switch whenever the oldest request is for another model."""
    return min(queue)[1]


def greedy(loaded: str, queue: Sequence[tuple[float, str]], _now: float) -> str:
    """Never switch while there is a request for the present model."""
    return loaded if any(model == loaded for _, model in queue) else min(queue)[1]


class Ours:
    """The policy; a batch is what had come when its model was loaded."""

    def __init__(self) -> None:
        self.batch: list[tuple[float, str]] = []

    def __call__(self, loaded: str, queue: Sequence[tuple[float, str]], now: float) -> str:
        self.batch = [each for each in self.batch if each in queue]
        states = [
            ModelState(
                model,
                on_card=model == loaded,
                active=len(self.batch) if model == loaded else 0,
                waiting=min((w for w, m in queue if m == model), default=None),
            )
            for model in {loaded, *(m for _, m in queue)}
            if model
        ]
        done = next_step(states, alone, now)
        if done.load is not None:
            loaded = str(done.load)
            self.batch = [each for each in queue if each[1] == loaded]
        elif loaded in done.admit:
            self.batch = [each for each in queue if each[1] == loaded]
        return loaded


@pytest.mark.parametrize("seed", range(5))
def test_two_models_asked_for_in_turn_switch_far_less_than_in_order_and_neither_starves(
    seed: int,
) -> None:
    rng = random.Random(seed)  # noqa: S311 - the same figures in each run
    requests = [(rng.uniform(0, 3000), rng.choice("ab")) for _ in range(150)]
    ours, naive = simulate(requests, Ours()), simulate(requests, in_order)
    assert ours.loads < naive.loads / 2
    assert max(ours.waits) < max(naive.waits)


def test_a_crowd_for_one_model_does_not_keep_out_who_asks_for_another() -> None:
    crowd = [(5.0 * number, "a") for number in range(200)]  # twice as many as can be served
    waits = simulate([*crowd, (100.5, "b")], greedy).waits
    assert max(waits) > 1000  # the other one waits for the whole crowd

    def of_b(loaded: str, queue: Sequence[tuple[float, str]], now: float) -> str:
        model = ours(loaded, queue, now)
        if model == "b":
            served.append(now)
        return model

    ours, served = Ours(), list[float]()
    simulate([*crowd, (100.5, "b")], of_b)
    # At most those who had come before, and `STAY` more seconds of them.
    assert served[0] - 100.5 < 25 * ANSWER
