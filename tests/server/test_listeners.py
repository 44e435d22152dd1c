"""How many connections there may be."""

from __future__ import annotations

import resource

import pytest

from axproxy.server.listeners import room_for_connections

NO_LIMIT = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "set_to", "room"),
    [
        (1024, 524288, 2200, 2000),
        (1024, NO_LIMIT, 2200, 2000),
        (1024, 1024, 1024, 824),
        (20000, 20000, None, 2000),
        (NO_LIMIT, NO_LIMIT, None, 2000),
        (64, 64, 64, 32),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, set_to: int | None, room: int
) -> None:
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.append(new))

    assert room_for_connections(2000) == room
    assert limits[1:] == ([] if set_to is None else [(set_to, hard)])
