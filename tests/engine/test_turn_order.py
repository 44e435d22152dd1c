"""Turns go round by client; each client's requests keep their order."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.engine.turns import TurnOrder

CLIENTS = "abcd"


def order_of(letters: str) -> TurnOrder[str]:
    """Requests such as `a1`, each of the client of its letter."""
    order: TurnOrder[str] = TurnOrder()
    count: Counter[str] = Counter()
    for letter in letters:
        count[letter] += 1
        order.join(letter, f"{letter}{count[letter]}")
    return order


def served(order: TurnOrder[str]) -> list[str]:
    turns = []
    while (request := order.first()) is not None:
        assert order.begin(request[0]) == request
        turns.append(request)
    return turns


@pytest.mark.parametrize(
    ("waiting", "turns"),
    [
        ("", ""),
        ("aaa", "a1 a2 a3"),
        ("aaab", "a1 b1 a2 a3"),
        ("abab", "a1 b1 a2 b2"),
        ("aabbc", "a1 b1 c1 a2 b2"),
        ("cbbaaa", "c1 b1 a1 b2 a2 a3"),
    ],
)
def test_turns_go_round_by_client(waiting: str, turns: str) -> None:
    assert list(order_of(waiting).in_order()) == turns.split()
    assert served(order_of(waiting)) == turns.split()


def test_a_client_that_joins_waits_for_one_answer_of_each_other() -> None:
    order = order_of("aaaabbbb")
    order.begin("a")
    order.join("c", "c1")
    assert served(order)[:4] == ["b1", "a2", "c1", "b2"]


def test_a_request_that_leaves_keeps_its_clients_place_for_the_next_one() -> None:
    order = order_of("aab")
    order.leave("a", "a1")
    assert served(order) == ["a2", "b1"]
    with pytest.raises(ValueError, match="not in"):
        order.leave("a", "a1")


events = st.lists(
    st.one_of(
        st.tuples(st.just("joins"), st.sampled_from(CLIENTS)),
        st.tuples(st.just("leaves"), st.integers(0, 20)),
        st.just(("turn", 0)),
    ),
    max_size=60,
)


@given(events)
def test_no_turn_is_lost_or_doubled_and_no_client_is_kept_out(
    history: list[tuple[str, str | int]],
) -> None:
    order: TurnOrder[tuple[str, int]] = TurnOrder()
    lines: dict[str, list[tuple[str, int]]] = {client: [] for client in CLIENTS}
    had: dict[str, Counter[str]] = {}  # answers of others since a client's first request waits
    for number, (what, which) in enumerate(history):
        waiting = [request for line in lines.values() for request in line]
        if what == "joins":
            client = str(which)
            request = (client, number)
            order.join(client, request)
            lines[client].append(request)
            had.setdefault(client, Counter())
        elif what == "leaves" and int(which) < len(waiting):
            request = waiting[int(which)]
            order.leave(request[0], request)
            lines[request[0]].remove(request)
        elif what == "turn" and waiting:
            first = order.first()
            assert first is not None
            client = first[0]
            assert order.begin(client) == lines[client].pop(0)  # the oldest of its client
            had.pop(client)
            for answers in had.values():
                answers[client] += 1
            if lines[client]:
                had[client] = Counter()
        for client in [client for client in had if not lines[client]]:
            del had[client]
        assert all(count <= 1 for answers in had.values() for count in answers.values())
        assert sorted(order.in_order()) == sorted(chain(*lines.values()))
        assert len(order) == sum(map(len, lines.values()))


def test_one_light_user_beside_five_heavy_ones_waits_for_one_answer_of_each() -> None:
    order: TurnOrder[tuple[str, int]] = TurnOrder()
    heavy = [f"heavy{number}" for number in range(5)]
    for client in heavy:
        for number in range(8):
            order.join(client, (client, number))
    waits = []
    asked: int | None = None  # the turn in which the light user's request came
    for turn in range(1, 300):
        if asked is None and turn % 3 == 0:
            order.join("light", ("light", turn))
            asked = turn
        first = order.first()
        assert first is not None
        order.begin(first[0])
        if first[0] == "light" and asked is not None:
            waits.append(turn - asked)
            asked = None
        else:
            order.join(first[0], (first[0], turn + 100))  # each heavy user has eight all the time
    assert len(waits) > 30
    assert max(waits) <= len(heavy)
