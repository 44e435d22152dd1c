"""One generation at a time; turns go round by client."""

import random
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axproxy.engine import queue
from axproxy.engine.queue import FewAtOnce, RequestQueue, Ticket
from axproxy.engine.turns import HOLD
from axproxy.errors import Busy, ClientGone
from axproxy.health import QueueHealth
from axproxy.messages import QueuePlace
from tests.support.waiting import eventually


@pytest.fixture(autouse=True, scope="module")
def alert_waiters() -> Iterator[None]:
    """Check for disconnects more often, so that the tests are quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "DISCONNECT_CHECK_INTERVAL", 0.005)
        yield


class Client(threading.Thread):
    """Stands in line in a thread of its own."""

    def __init__(self, gate: RequestQueue, who: str = "") -> None:
        super().__init__(daemon=True)
        self.who = who
        self.gate = gate
        self.gone = False
        self.ticket: Ticket | None = None
        self.refusal: Exception | None = None

    def run(self) -> None:
        try:
            self.ticket = self.gate.admit(lambda: self.gone, self.who)
        except (Busy, ClientGone) as refusal:
            self.refusal = refusal


@contextmanager
def line_of(
    gate: RequestQueue, length: int, names: str = ""
) -> Iterator[tuple[Ticket, list[Client]]]:
    """The ticket of the one who is served, and those behind, who came one after the other.

    Each letter of `names` is a client.
    """
    ticket = gate.admit(lambda: False)
    clients = []
    for place in range(1, length + 1):
        clients.append(Client(gate, names[place - 1 : place]))
        clients[-1].start()
        eventually(lambda place=place: gate.waiting == place)  # type: ignore[misc]  # a loop variable
    try:
        yield ticket, clients
    finally:
        for client in clients:
            client.gone = True
            client.join()


def test_an_idle_queue_admits_at_once() -> None:
    gate = RequestQueue(places=0)
    for _ in range(3):
        ticket = gate.admit(lambda: False)
        assert gate.busy
        ticket.give_back()
        assert not gate.busy
    assert gate.waiting == 0


def test_waiting_requests_are_served_in_the_order_they_came() -> None:
    gate = RequestQueue(places=3)
    with line_of(gate, 3) as (served, clients):
        ticket = served
        for client in clients:
            assert client.ticket is None
            ticket.give_back()
            client.join()
            assert client.ticket
            assert gate.busy
            ticket = client.ticket
        ticket.give_back()
    assert (gate.busy, gate.waiting) == (False, 0)


def test_turns_go_round_by_client() -> None:
    gate = RequestQueue(places=5)
    with line_of(gate, 5, "aaaab") as (served, clients):
        ticket = served
        for turn in (0, 4, 1, 2, 3):
            assert not clients[turn].ticket
            ticket.give_back()
            clients[turn].join()
            own = clients[turn].ticket
            assert own
            ticket = own
    assert gate.waiting == 0


def test_those_who_wait_are_told_their_place_and_how_long_that_takes() -> None:
    now = 0.0
    gate = RequestQueue(places=5, clock=lambda: now)
    assert gate.health() == QueueHealth(0, False, 5, 0, None)
    first = gate.admit(lambda: False, "a")
    now = 10.0
    first.give_back()
    ticket = gate.admit(lambda: False, "a")
    now = 13.0
    waits = [gate.until_admitted(lambda: False, client) for client in "aab"]
    for wait in waits:
        next(wait)
    places = [next(wait)() for wait in waits]
    assert places == [QueuePlace(1, 7.0), QueuePlace(3, 27.0), QueuePlace(2, 17.0)]
    assert gate.health() == QueueHealth(3, True, 5, 3, 27.0)
    for wait in waits:
        wait.close()
    ticket.give_back()


def ends(turn: Generator[QueuePlace, None, Ticket]) -> Ticket:
    """The ticket of a request whose turn has come."""
    with pytest.raises(StopIteration) as end:
        next(turn)
    ticket: Ticket = end.value.value
    return ticket


def test_the_card_is_kept_a_moment_for_the_result_of_a_tool() -> None:
    gate = RequestQueue(places=5, clock=lambda: 0.0)
    calling = gate.admit(lambda: False, "agent")
    other = gate.until_admitted(lambda: False, "other")
    next(other)
    calling.give_back(saves=2000)
    next(other)  # waits on
    with_result = ends(gate.until_admitted(lambda: False, "agent", lambda: 2000))
    with_result.give_back(saves=2000)
    ends(other).give_back()  # passed once, and not a second time
    assert (gate.busy, gate.waiting) == (False, 0)


def test_who_waits_has_the_card_when_no_result_comes() -> None:
    now = 0.0
    gate = RequestQueue(places=5, clock=lambda: now)
    calling = gate.admit(lambda: False, "agent")
    other = gate.until_admitted(lambda: False, "other")
    next(other)
    calling.give_back(saves=2000)
    next(other)
    unrelated = gate.until_admitted(lambda: False, "agent")
    next(unrelated)
    now = HOLD
    next(unrelated)
    ends(other).give_back()
    ends(unrelated).give_back()


def test_who_waits_has_the_card_at_once_after_any_other_answer() -> None:
    gate = RequestQueue(places=5)
    ticket = gate.admit(lambda: False, "a")
    other = gate.until_admitted(lambda: False, "b")
    next(other)
    ticket.give_back()
    ends(other).give_back()


def test_a_full_queue_is_refused_at_once() -> None:
    gate = RequestQueue(places=2)
    with (
        line_of(gate, 2),
        pytest.raises(Busy, match=r"server busy, please try again\.  maximum pending requests"),
    ):
        gate.admit(lambda: False)
    assert gate.waiting == 0


@contextmanager
def queued(gate: RequestQueue, names: str) -> Iterator[list[Client]]:
    """Requests behind a running one, each of the client of its letter."""
    ticket = gate.admit(lambda: False)
    requests = []
    for place, name in enumerate(names, 1):
        requests.append(Client(gate, name))
        requests[-1].start()
        eventually(lambda place=place: gate.waiting == place)  # type: ignore[misc]  # a loop variable
    try:
        yield requests
    finally:
        ticket.give_back()
        for request in requests:
            request.gone = True
        for request in requests:
            request.join()
            if request.ticket:
                request.ticket.give_back()


@pytest.mark.parametrize(
    ("waiting", "newcomer", "refused"),
    [
        ("aaaa", "b", 3),  # the newest of the one who holds all
        ("aaab", "b", 2),
        ("aaab", "c", 2),
        ("baaa", "c", 3),
        ("aabb", "c", None),  # no client holds more than half
        ("aaaa", "a", None),
        ("aabc", "d", None),
        ("abbb", "b", None),
    ],
)
def test_one_client_keeps_half_of_the_places_when_others_want_them(
    waiting: str, newcomer: str, refused: int | None
) -> None:
    gate = RequestQueue(places=4)
    with queued(gate, waiting) as requests:
        late = Client(gate, newcomer)
        late.start()
        if refused is None:
            late.join()
            assert isinstance(late.refusal, Busy)
        else:
            requests[refused].join()
            assert isinstance(requests[refused].refusal, Busy)
            assert late.refusal is None
        assert gate.waiting == 4
        assert [request.refusal for at, request in enumerate(requests) if at != refused] == [
            None
        ] * (4 - (refused is not None))
        late.gone = True
        late.join()


def test_a_client_that_is_alone_may_have_all_places_however_many_there_are() -> None:
    for places in (1, 2, 3):
        gate = RequestQueue(places)
        with queued(gate, "a" * places) as requests:
            assert gate.waiting == places
            assert not any(request.refusal for request in requests)
    with queued(RequestQueue(places=1), "a") as requests:  # a single place is no half
        with pytest.raises(Busy):
            requests[0].gate.admit(lambda: False, "b")
        assert requests[0].refusal is None


def test_without_places_to_wait_only_one_is_let_in() -> None:
    gate = RequestQueue(places=0)
    gate.admit(lambda: False)
    with pytest.raises(Busy):
        gate.admit(lambda: False)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_client_that_hangs_up_leaves_the_queue_and_the_others_go_on(place: int) -> None:
    gate = RequestQueue(places=3)
    with line_of(gate, 3) as (served, clients):
        ticket = served
        leaver = clients.pop(place)
        leaver.gone = True
        leaver.join()
        assert isinstance(leaver.refusal, ClientGone)
        assert gate.waiting == 2
        for client in clients:
            ticket.give_back()
            client.join()
            assert client.ticket
            ticket = client.ticket
        ticket.give_back()


def test_a_place_that_was_left_can_be_taken() -> None:
    gate = RequestQueue(places=1)
    with line_of(gate, 1) as (_, (leaver,)):
        leaver.gone = True
        leaver.join()
        late = Client(gate)
        late.start()
        eventually(lambda: gate.waiting == 1)
        late.gone = True
        late.join()
    assert isinstance(late.refusal, ClientGone)


def test_a_failing_check_of_the_client_leaves_the_queue_too() -> None:
    gate = RequestQueue(places=1)
    gate.admit(lambda: False)

    def broken() -> bool:
        raise OSError("the socket is no socket")

    with pytest.raises(OSError, match="no socket"):
        gate.admit(broken)
    assert gate.waiting == 0


def test_a_ticket_given_back_twice_lets_in_only_one() -> None:
    gate = RequestQueue(places=2)
    with line_of(gate, 2) as (ticket, (first, second)):
        ticket.give_back()
        first.join()
        ticket.give_back()
        assert (gate.busy, gate.waiting) == (True, 1)
        assert first.ticket
        assert second.ticket is None


def test_a_new_request_does_not_overtake_waiting_ones() -> None:
    gate = RequestQueue(places=2)
    with line_of(gate, 1) as (ticket, (first,)):
        newcomer = Client(gate)
        newcomer.start()
        eventually(lambda: gate.waiting == 2)
        ticket.give_back()
        first.join()
        assert first.ticket
        assert newcomer.ticket is None
        first.ticket.give_back()
        newcomer.join()
        assert newcomer.ticket


def test_no_request_overtakes_while_the_first_one_is_slow_to_start() -> None:
    gate = RequestQueue(places=1)
    ticket = gate.admit(lambda: False)
    looked, go_on = threading.Event(), threading.Event()

    def slow_look() -> bool:
        looked.set()
        go_on.wait()
        return False

    slow = threading.Thread(target=gate.admit, args=(slow_look,), daemon=True)
    slow.start()
    looked.wait()
    ticket.give_back()
    with pytest.raises(Busy):
        gate.admit(lambda: False)
    go_on.set()
    slow.join()
    assert (gate.busy, gate.waiting) == (True, 0)


# What happens at the queue: a request comes, the n-th in line leaves, the running one ends.
happenings = st.lists(
    st.one_of(
        st.just(("comes", 0)),
        st.tuples(st.just("leaves"), st.integers(0, 3)),
        st.just(("done", 0)),
    ),
    max_size=20,
)


@settings(max_examples=40)
@given(places=st.integers(0, 3), history=happenings)
def test_any_history_is_first_come_first_served(
    places: int, history: list[tuple[str, int]]
) -> None:
    gate = RequestQueue(places)
    inside: Client | None = None
    line: deque[Client] = deque()
    for what, place in history:
        if what == "comes":
            client = Client(gate)
            client.start()
            if inside is None:
                client.join()
                inside = client
            elif len(line) == places:
                client.join()
                assert isinstance(client.refusal, Busy)
                continue
            else:
                line.append(client)
                eventually(lambda: gate.waiting == len(line))
        elif what == "leaves" and place < len(line):
            leaver = line[place]
            leaver.gone = True
            leaver.join()
            assert isinstance(leaver.refusal, ClientGone)
            del line[place]
        elif what == "done" and inside:
            assert inside.ticket
            inside.ticket.give_back()
            inside = line.popleft() if line else None
            if inside:
                inside.join()
        assert inside is None or inside.ticket
        assert not any(client.ticket for client in line)
        assert (gate.busy, gate.waiting) == (inside is not None, len(line))
    for client in line:
        client.gone = True
        client.join()


def test_eight_threads_are_never_inside_together() -> None:
    gate = RequestQueue(places=8)
    inside = served = left = 0
    together = []

    def hammer(seed: int) -> None:
        nonlocal inside, served, left
        chance = random.Random(seed)  # noqa: S311  # no secret, only variety
        for _ in range(150):
            try:
                ticket = gate.admit(lambda: chance.random() < 0.05)
            except ClientGone:
                left += 1
                continue
            inside += 1
            time.sleep(0)  # invites the others in
            together.append(inside)
            inside -= 1
            served += 1
            ticket.give_back()
            if chance.random() < 0.1:
                ticket.give_back()

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(together) == {1}
    assert len(together) == served > 0
    assert (gate.busy, gate.waiting) == (False, 0)


def test_few_threads_work_at_once_and_who_leaves_need_not_wait() -> None:
    work = FewAtOnce(2)

    def stay() -> bool:
        return False

    places = work.place(stay), work.place(stay)
    with places[0], places[1], pytest.raises(ClientGone), work.place(lambda: True):
        pytest.fail("a third place")
    with work.place(stay), work.place(stay):
        pass
