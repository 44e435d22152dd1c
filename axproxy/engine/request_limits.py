"""How much one request may ask for: more than any model for the card can use, and no more than the
service can bear."""

from __future__ import annotations

from axproxy.errors import ClientError
from axproxy.messages import ChatRequest

MOST_MESSAGES = 2000
MOST_TOOLS = 256
MOST_STOPS = 64
LONGEST_STOP = 1000  # characters; each is looked for at every token


def check_size(request: ChatRequest) -> None:
    """Raises `ClientError`, which says what there is too much of."""
    if len(request.messages) > MOST_MESSAGES:
        raise ClientError(f"there are more than {MOST_MESSAGES} messages; leave out the oldest")
    if len(request.tools) > MOST_TOOLS:
        raise ClientError(f"there are more than {MOST_TOOLS} tools; offer fewer")
    if len(request.limits.stop) > MOST_STOPS:
        raise ClientError(f"there are more than {MOST_STOPS} stop strings; send fewer")
    if any(len(stop) > LONGEST_STOP for stop in request.limits.stop):
        raise ClientError(
            f"a stop string is longer than {LONGEST_STOP} characters; send a shorter one"
        )
