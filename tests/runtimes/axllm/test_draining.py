"""What becomes of a run whose client has left."""

from __future__ import annotations

import json
import socket

import pytest

from axproxy.runtimes.axllm.draining import Drain, Remainder, is_restart_cheaper
from axproxy.runtimes.axllm.event_stream import EventStream
from tests.runtimes.axllm.test_event_stream import HEAD, chunked, event
from tests.support.waiting import eventually


@pytest.mark.parametrize(
    ("tokens", "speed", "load_seconds", "waiting", "restarts"),
    [
        (2000, 4.0, 88.0, 1, True),  # 500 s against a load of 88
        (300, 4.0, 88.0, 1, False),
        (2000, 40.0, 88.0, 3, False),
        (2000, 4.0, 88.0, 0, False),  # no request waits: a restart would help none
        (2000, 4.0, 600.0, 5, False),
        (100, None, None, 1, True),  # nothing is known: one token per second, a load of 90
        (80, None, None, 1, False),
        (0, 4.0, 0.5, 1, False),
    ],
)
def test_a_restart_is_for_those_who_wait_and_only_where_it_is_sooner(
    tokens: int, speed: float | None, load_seconds: float | None, waiting: int, restarts: bool
) -> None:
    assert is_restart_cheaper(Remainder(tokens, speed), load_seconds, waiting) is restarts


def test_the_rest_of_a_run_is_read_to_its_end_and_counted() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(HEAD)
        drain = Drain(EventStream(ours, 1.0), Remainder(10, 5.0), stall=30.0)
        theirs.sendall(chunked(*[event({"n": number}) for number in range(4)])[:-5])
        eventually(lambda: drain.rest.tokens == 6)
        assert not drain.wait(0.0)
        assert drain.rest.seconds == pytest.approx(6 / 5)

        theirs.sendall(b"0\r\n\r\n")
        eventually(lambda: drain.wait(0.0))
    assert not drain.stalled


def test_a_program_that_ends_ends_the_drain() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(HEAD)
    drain = Drain(EventStream(ours, 1.0), Remainder(10), stall=30.0)
    theirs.close()

    eventually(lambda: drain.wait(0.0))
    assert not drain.stalled


def test_a_run_that_stops_without_an_end_is_noticed() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(HEAD + json.dumps({}).encode()[:0])
        drain = Drain(EventStream(ours, 1.0), Remainder(10), stall=0.1)
        eventually(lambda: drain.wait(0.0))
        assert drain.stalled
