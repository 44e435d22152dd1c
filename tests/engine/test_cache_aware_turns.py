"""Turns that go on from the KV cache, on simulated traces beside first come, first served."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.engine.turns import HOLD, LEAST_SAVED, PATIENCE, TurnOrder

PREFILL = 300.0  # tokens a second
DECODE = 15.0


@dataclass
class Step:
    """One request: `pause` seconds after the answer before it; lengths in tokens.

    With `fresh` it begins a conversation.  With `tool` its answer calls one.
    """

    pause: float
    prompt: int
    answer: int
    fresh: bool = False
    tool: bool = False


@dataclass
class Client:
    name: str
    steps: list[Step]
    at: float = 0.0  # when its next request comes
    length: int = 0  # tokens of its conversation

    def __post_init__(self) -> None:
        self.at = self.steps[0].pause


@dataclass
class Result:
    read: int = 0  # prompt tokens sent to the card
    turns: list[str] = field(default_factory=list)
    # For each turn: its wait, and the answers of each other client that began in it.
    waits: list[tuple[float, Counter[str]]] = field(default_factory=list)
    longest_answer: float = 0.0


class Simulation:
    """One card in virtual time; without `cache_aware` it is first come, first served."""

    def __init__(self, clients: list[Client], *, cache_aware: bool) -> None:
        self._clients = {client.name: client for client in clients}
        self._cache_aware = cache_aware
        self._now = 0.0
        self._cached = ("", 0)  # whose conversation, and its tokens
        self._order: TurnOrder[str] = TurnOrder(self._saved)
        self._came: dict[str, float] = {}
        self._passed: dict[str, Counter[str]] = {}
        self._hold = ("", 0, 0.0)  # for whom, the tokens that it would save, until when
        self.result = Result()
        while any(client.steps for client in clients):
            self._step()

    def _saved(self, name: str) -> int:
        whose, tokens = self._cached
        return tokens if name == whose and not self._clients[name].steps[0].fresh else 0

    def _step(self) -> None:
        coming = []
        for client in sorted(self._clients.values(), key=lambda client: client.at):
            if client.steps and client.name not in self._came:
                if client.at > self._now:
                    coming.append(client.at)
                    continue
                self._came[client.name] = client.at
                self._passed[client.name] = Counter()
                self._order.join(client.name, client.name, client.at)
        whom, tokens, until = self._hold
        held = self._cache_aware and self._now < until
        if not self._came:
            self._now = min(coming)
        elif held and self._order.holds_for(whom, tokens, self._now):
            self._now = min([*coming, until])
        else:
            first = self._order.first(self._now)
            assert first
            self._run(first if self._cache_aware else min(self._came, key=self._came.__getitem__))

    def _run(self, name: str) -> None:
        client, result = self._clients[name], self.result
        goes_on = bool(self._saved(name))
        self._order.begin(name, self._now)
        result.turns.append(name)
        result.waits.append((self._now - self._came.pop(name), self._passed.pop(name)))
        for others in self._passed.values():
            others[name] += 1
        step = client.steps.pop(0)
        client.length = step.prompt if step.fresh else client.length + step.prompt
        read = step.prompt if goes_on else client.length
        takes = read / PREFILL + step.answer / DECODE
        result.read += read
        result.longest_answer = max(result.longest_answer, takes)
        self._now += takes
        client.length += step.answer
        self._cached = (name, client.length)
        client.at = self._now + (client.steps[0].pause if client.steps else 0.0)
        self._hold = (name, client.length, self._now + HOLD if step.tool else 0.0)


def simulate(clients: list[Client], *, cache_aware: bool) -> Result:
    return Simulation(clients, cache_aware=cache_aware).result


def chatter(name: str, chance: random.Random) -> Client:
    steps = [Step(chance.uniform(0, 20), 60, 120, fresh=True)]
    steps += [Step(chance.uniform(5, 40), chance.randint(15, 60), 120) for _ in range(25)]
    return Client(name, steps)


def assistant(name: str, chance: random.Random) -> Client:
    """A voice assistant: a long prompt about the house, a call, and a sentence about its result."""
    steps = []
    for _ in range(25):
        steps.append(Step(chance.uniform(5, 60), 1800, 25, fresh=True, tool=True))
        steps.append(Step(chance.uniform(0.05, 0.4), 60, 20))
    return Client(name, steps)


def agent(name: str, chance: random.Random) -> Client:
    """An agent: tasks of eight calls in a row, each with a result to read."""
    steps = []
    for _ in range(6):
        steps.append(Step(chance.uniform(5, 30), 1200, 40, fresh=True, tool=True))
        steps += [Step(chance.uniform(0.05, 0.8), 150, 40, tool=turn < 6) for turn in range(7)]
    return Client(name, steps)


def house(chance: random.Random) -> list[Client]:
    return [assistant("voice", chance), chatter("ann", chance), chatter("ben", chance)]


def one_agent(chance: random.Random) -> list[Client]:
    return [agent("agent", chance), chatter("ann", chance), chatter("ben", chance)]


def crowd(chance: random.Random) -> list[Client]:
    agents = [agent(f"agent{number}", chance) for number in range(4)]
    return agents + [chatter(f"chatter{number}", chance) for number in range(8)]


@pytest.mark.parametrize(("trace", "least_share"), [(house, 0.05), (one_agent, 0.1), (crowd, 0.0)])
def test_fewer_prompt_tokens_are_read_and_no_wait_is_out_of_bounds(
    trace: object, least_share: float
) -> None:
    assert callable(trace)
    before = after = 0
    for seed in range(5):
        plain = simulate(trace(random.Random(seed)), cache_aware=False)  # noqa: S311 - no secret
        ours = simulate(trace(random.Random(seed)), cache_aware=True)  # noqa: S311 - no secret
        assert Counter(ours.turns) == Counter(plain.turns)
        before += plain.read
        after += ours.read
        others = len(set(ours.turns)) - 1
        for wait, passed in ours.waits:
            assert max(passed.values(), default=0) <= 1
            # The rest of the running answer, then one answer and one hold of each other client.
            assert wait <= (others + 1) * (ours.longest_answer + HOLD)
    assert after <= (1 - least_share) * before, f"{1 - after / before:.0%} fewer"


def order_with(saved: dict[str, int], waiting: str) -> TurnOrder[str]:
    order: TurnOrder[str] = TurnOrder(lambda request: saved.get(request, 0))
    for client in waiting:
        order.join(client, client)
    return order


@pytest.mark.parametrize(
    ("saved", "now", "first"),
    [
        ({}, 0.0, "a"),
        ({"b": LEAST_SAVED}, 0.0, "b"),
        ({"b": LEAST_SAVED, "c": 9999}, 0.0, "c"),
        ({"b": LEAST_SAVED - 1}, 0.0, "a"),
        ({"a": LEAST_SAVED, "b": LEAST_SAVED + 1}, 0.0, "a"),
        ({"b": 9999}, PATIENCE, "a"),
    ],
)
def test_what_saves_enough_may_pass(saved: dict[str, int], now: float, first: str) -> None:
    assert order_with(saved, "abc").first(now) == first


def test_each_client_passes_another_once() -> None:
    order = order_with({"b": 9999}, "ab")
    assert order.begin("b") == "b"
    order.join("b", "b")
    assert order.first() == "a"


def test_the_card_is_kept_only_for_who_may_pass_and_saves_enough() -> None:
    assert not order_with({}, "").holds_for("b", 9999, 0.0)  # none waits
    order = order_with({}, "a")
    assert order.holds_for("b", LEAST_SAVED, 0.0)
    assert not order.holds_for("b", LEAST_SAVED - 1, 0.0)
    assert not order.holds_for("b", LEAST_SAVED, PATIENCE)
    order.join("b", "b")
    order.begin("b")
    assert not order.holds_for("b", LEAST_SAVED, 0.0)
    assert not order_with({"a": LEAST_SAVED}, "a").holds_for("b", LEAST_SAVED, 0.0)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.integers(0, 3000))))
def test_whatever_is_saved_each_client_is_passed_once_by_each_other(
    history: list[tuple[str, bool, int]],
) -> None:
    saves: dict[tuple[str, int], int] = {}
    order: TurnOrder[tuple[str, int]] = TurnOrder(lambda request: saves[request])
    lines: dict[str, list[tuple[str, int]]] = {client: [] for client in "abcd"}
    passed: dict[str, Counter[str]] = {}
    for number, (client, joins, saved) in enumerate(history):
        if joins or not len(order):
            saves[client, number] = saved
            order.join(client, (client, number), float(number))
            lines[client].append((client, number))
            passed.setdefault(client, Counter())
            continue
        first = order.first(float(number))
        assert first is not None
        assert order.begin(first[0], float(number)) == lines[first[0]].pop(0) == first
        del passed[first[0]]
        for answers in passed.values():
            answers[first[0]] += 1
        if lines[first[0]]:
            passed[first[0]] = Counter()
        assert all(count <= 1 for answers in passed.values() for count in answers.values())
