"""How much one request may ask for."""

from __future__ import annotations

import pytest

from axproxy.engine.request_limits import (
    MAX_MESSAGES,
    MAX_STOP_LENGTH,
    MAX_STOPS,
    MAX_TOOLS,
    check_size,
)
from axproxy.errors import ClientError
from axproxy.messages import ChatRequest, Limits, Message

TURN = Message("user", "Hi")


def asking(messages: int = 1, tools: int = 0, stops: int = 0, length: int = 1) -> ChatRequest:
    limits = Limits(stop=("x" * length,) * stops)
    return ChatRequest((TURN,) * messages, tools=({},) * tools, limits=limits)


def test_a_request_may_use_all_of_every_limit() -> None:
    check_size(asking(MAX_MESSAGES, MAX_TOOLS, MAX_STOPS, MAX_STOP_LENGTH))


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (asking(messages=MAX_MESSAGES + 1), "more than 2000 messages"),
        (asking(tools=MAX_TOOLS + 1), "more than 256 tools"),
        (asking(stops=MAX_STOPS + 1), "more than 64 stop strings"),
        (asking(stops=1, length=MAX_STOP_LENGTH + 1), "longer than 1000 characters"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_too_much_is_named(request_: ChatRequest, says: str) -> None:
    with pytest.raises(ClientError, match=says):
        check_size(request_)
